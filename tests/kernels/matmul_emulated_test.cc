// matmul for AVX-512, emulated: its arithmetic is checked on processors without AVX-512 too.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512/matmul.cc"

#include "kernels/matmul_check.h"
#include "kernels/matmul_weights_check.h"

namespace terrace {
namespace {

using namespace matmul_check;

const KernelFn kFn = avx512_simde::kMatmul[0].fn;

/// Whether the emulation rounds a multiply-add once: it depends on what it is built for.
Order order() {
  float t[V::kLanes];
  V::store(t, V::fma(V::set(1 + 0x1p-12f), V::set(1 + 0x1p-12f), V::set(-1 - 0x1p-11f)));
  return t[0] != 0 ? Order::fused : Order::plain;
}

TEST(MatmulEmulatedAvx512, EdgesOfTilesPanelsAndBlocks) { expect_edges(kFn, order(), 200000); }
TEST(MatmulEmulatedAvx512, Empty) { expect_empty(kFn, order()); }
TEST(MatmulEmulatedAvx512, Batches) { expect_batches(kFn, order()); }
TEST(MatmulEmulatedAvx512, Flattened) { expect_flat(kFn, order()); }

TEST(MatmulEmulatedAvx512, Bf16AsFloats) {
  for (int i = 1; i < kMatmulKernels; ++i) {
    const ListedKernel& k = avx512_simde::kMatmul[i];
    if (std::string_view(k.op) != "matmul") continue;
    expect_formats(k.fn, order(), k.formats, 30000);
    expect_rounding(k.fn, k.formats);
  }
}

using matmul_weights_check::expect_all, linear_check::blocks, linear_check::kF16;
TEST(MatmulWeightsEmulatedAvx512, F16) { expect_all(avx512_simde::matmul_f16, order(), kF16); }
TEST(MatmulWeightsEmulatedAvx512, Q8_0) { expect_all(avx512_simde::matmul_q8_0, order(), blocks(Layout::q8_0)); }
TEST(MatmulWeightsEmulatedAvx512, Q4_0) { expect_all(avx512_simde::matmul_q4_0, order(), blocks(Layout::q4_0)); }
TEST(MatmulWeightsEmulatedAvx512, Q4_1) { expect_all(avx512_simde::matmul_q4_1, order(), blocks(Layout::q4_1)); }

}  // namespace
}  // namespace terrace
