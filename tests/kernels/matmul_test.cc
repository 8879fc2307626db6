// matmul for this processor's instruction sets.
#include "kernels/matmul_check.h"

namespace terrace {
namespace {

using namespace matmul_check;

class Matmul : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > best_isa()) GTEST_SKIP() << "not on this processor";
    const KernelTable table = cpu_kernels(GetParam());
    const Kernel* k = table.find_by_name("matmul." + std::string(name_of(GetParam())));
    ASSERT_NE(k, nullptr);
    fn = k->fn;
  }
  KernelFn fn = nullptr;
  const Order order = GetParam() == Isa::portable ? Order::plain : Order::fused;
};

TEST_P(Matmul, EdgesOfTilesPanelsAndBlocks) { expect_edges(fn, order, 1 << 30); }
TEST_P(Matmul, Empty) { expect_empty(fn, order); }
TEST_P(Matmul, Batches) { expect_batches(fn, order); }
TEST_P(Matmul, Flattened) { expect_flat(fn, order); }

TEST_P(Matmul, RandomSizes) {
  std::mt19937 rng(11);
  for (int i = 0; i < 60; ++i) {
    const auto upto = [&](i64 n) { return static_cast<i64>(rng() % static_cast<unsigned>(n)) + 1; };
    Case c{upto(60), upto(90), upto(50), rng() % 2 == 0, rng() % 2 == 0, false, {}, {}};
    if (rng() % 2 == 0) c.batch = {upto(4)};
    if (rng() % 3 == 0) c.gaps = {upto(9), upto(5)};
    expect_case(fn, order, c);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Matmul, ::testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

TEST(MatmulBf16, EveryFormat) {
  const KernelTable table = cpu_kernels(best_isa());
  for (const Kernel& k : table.all()) {
    if (k.op != "matmul" || k.isa == Isa::reference) continue;
    std::string formats;
    for (const Format& f : k.formats) formats.push_back(f.dtype == DType::bf16 ? 'h' : 'f');
    if (formats == "fff") continue;
    SCOPED_TRACE(k.name);
    expect_formats(k.fn,
                   k.isa == Isa::avx512_bf16 ? Order::pairs
                   : k.isa == Isa::portable  ? Order::plain
                                             : Order::fused,
                   formats, 1 << 30);
    expect_rounding(k.fn, formats);
  }
}
TEST(MatmulBf16, TheReferenceRoundsAsStated) {
  for (const char* formats : {"hhh", "hhf", "hfh", "hff", "fhh", "fhf", "ffh"})
    expect_rounding(reference::matmul, formats);
}

TEST(MatmulScratch, IsBoundedAndGrowsWithTheMatrix) {
  EXPECT_EQ(matmul_scratch(1, 1), 4u * (16 * 32 + 16 * 400));
  EXPECT_EQ(matmul_scratch(768, 3072), 4u * (384 * 512 + 16 * 400));
  EXPECT_EQ(matmul_scratch(i64{1} << 40, i64{1} << 40), matmul_scratch(768, 3072));
  EXPECT_LE(matmul_scratch(512, 384), 793u << 10);
  EXPECT_EQ(matmul_sums(1000, 33, 384), 4u * 16 * 64);
  EXPECT_EQ(matmul_sums(5, 33, 385), 4u * 16 * 64);
  EXPECT_EQ(matmul_sums(i64{1} << 40, i64{1} << 40, i64{1} << 40), 896u << 10);
}

}  // namespace
}  // namespace terrace
