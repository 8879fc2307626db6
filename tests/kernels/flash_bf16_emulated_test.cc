// flash_attention of bf16 in pairs, VDPBF16PS emulated: checked on processors that have none.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512_bf16/flash.cc"

#include "kernels/flash_check.h"

namespace terrace {
namespace {

using namespace flash_check;

const Kernels kPairs{"emulated", avx512_bf16_simde::flash_attention_bf16, avx512_bf16_simde::flash_attention_grad_bf16,
                     4e-6, true};

TEST(FlashEmulatedAvx512Bf16, EdgesOfTilesAndBlocks) { expect_edges({kPairs}, 200000); }
TEST(FlashEmulatedAvx512Bf16, HeadsGroupsAndStrides) { expect_heads({kPairs}); }
TEST(FlashEmulatedAvx512Bf16, WhatIsNotSeenLeavesNoTrace) { expect_causal(kPairs, 70, 70, 41); }

}  // namespace
}  // namespace terrace
