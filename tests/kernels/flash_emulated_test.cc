// flash_attention for AVX-512, emulated: its arithmetic is checked on processors without AVX-512 too.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512/flash.cc"

#include "kernels/flash_check.h"

namespace terrace {
namespace {

using namespace flash_check;

const Kernels kEmulated{"emulated", avx512_simde::flash_attention, avx512_simde::flash_attention_grad};

const Kernels kHalves{"emulated", avx512_simde::flash_attention_bf16, avx512_simde::flash_attention_grad_bf16, 4e-6,
                      true};

TEST(FlashEmulatedAvx512, Bf16) {
  expect_edges({kHalves}, 100000);
  expect_causal(kHalves, 70, 70, 41);
}
TEST(FlashEmulatedAvx512, EdgesOfTilesAndBlocks) { expect_edges({kEmulated}, 200000); }
TEST(FlashEmulatedAvx512, HeadsGroupsAndStrides) { expect_heads({kEmulated}); }
TEST(FlashEmulatedAvx512, WhatIsNotSeenLeavesNoTrace) { expect_causal(kEmulated, 70, 70, 41); }

}  // namespace
}  // namespace terrace
