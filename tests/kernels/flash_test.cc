// flash_attention and its gradient for this processor's instruction sets; their scratch.
#include "kernels/flash_check.h"

namespace terrace {
namespace {

using namespace flash_check;

/// Those that this processor can run.
const All& all() {
  static const All found = [] {
    All made;
    for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
      if (isa > best_isa()) continue;
      const KernelTable table = cpu_kernels(isa);
      const std::string name(name_of(isa));
      // portable rounds its products
      made.push_back({name, table.find_by_name("flash_attention." + name)->fn,
                      table.find_by_name("flash_attention_grad." + name)->fn, isa == Isa::portable ? 4e-6 : 2e-6});
    }
    return made;
  }();
  return found;
}

/// Those of bf16.
const All& halves() {
  static const All found = [] {
    All made;
    for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
      if (isa > best_isa()) continue;
      const KernelTable table = cpu_kernels(isa);
      const std::string name(name_of(isa));
      made.push_back({name, table.find_by_name("flash_attention.bf16." + name)->fn,
                      table.find_by_name("flash_attention_grad.bf16." + name)->fn, 4e-6, true});
    }
    return made;
  }();
  return found;
}

TEST(FlashBf16, EdgesOfTilesAndBlocks) { expect_edges(halves(), 1 << 30); }
TEST(FlashBf16, HeadsGroupsAndStrides) { expect_heads(halves()); }
TEST(FlashBf16, ManyBlocks) {
  for (const bool causal : {false, true}) expect_case(halves(), {1, 2, 1, 64, 600, 530, causal});
}
TEST(FlashBf16, WhatIsNotSeenLeavesNoTrace) {
  for (const Kernels& k : halves())
    for (const auto& [n, m] : {std::array<i64, 2>{150, 150}, {40, 170}, {170, 40}})
      for (const i64 border : {i64{1}, i64{7}, i64{39}, m / 2, m - 1}) expect_causal(k, n, m, border);
}

TEST(Flash, EdgesOfTilesAndBlocks) { expect_edges(all(), 1 << 30); }
TEST(Flash, HeadsGroupsAndStrides) { expect_heads(all()); }
TEST(Flash, LargeScores) { expect_large_scores(all(), 150); }
TEST(Flash, WhatIsNotSeenLeavesNoTrace) {
  for (const Kernels& k : all())
    for (const auto& [n, m] : {std::array<i64, 2>{150, 150}, {40, 170}, {170, 40}})
      for (const i64 border : {i64{1}, i64{7}, i64{39}, m / 2, m - 1}) expect_causal(k, n, m, border);
}

TEST(Flash, RandomSizes) {
  std::mt19937 rng(12);
  for (int i = 0; i < 30; ++i) {
    const auto upto = [&](i64 n) { return static_cast<i64>(rng() % static_cast<unsigned>(n)) + 1; };
    const i64 groups = upto(2);
    expect_case(all(), {upto(2), groups * upto(2), groups, upto(90), upto(120), upto(120), rng() % 2 == 0});
  }
}

TEST(FlashScratch, StopsGrowingWithTheLength) {
  EXPECT_EQ(flash_scratch(64, 1024, 1024), 4u * (2 * 64 * (256 + 128) + 8 * 128 + 2 * 256));
  EXPECT_EQ(flash_grad_scratch(64, 1000), 4u * (64 * (5 * 64 + 3 * 32) + 2 * 64 * 32 + 2 * 1000));
  for (i64 d = 1; d <= kMaxFlashHead; ++d) {
    EXPECT_LE(flash_scratch(d, i64{1} << 40, i64{1} << 40), 800u << 10) << d;
    EXPECT_LE(flash_grad_scratch(d, i64{1} << 40), 450u << 10) << d;
    EXPECT_GE(flash_grad_block(d, 2048), 64) << d;
    EXPECT_LE(flash_bf16_scratch(d, i64{1} << 40, i64{1} << 40), 804u << 10) << d;
    EXPECT_LE(flash_bf16_grad_scratch(d, 1024), (504u << 10) + 4 * 1024 * 258) << d;
  }
}

}  // namespace
}  // namespace terrace
