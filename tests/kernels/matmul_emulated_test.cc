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
bool fused() {
  float t[V::kLanes];
  V::store(t, V::fma(V::set(1 + 0x1p-12f), V::set(1 + 0x1p-12f), V::set(-1 - 0x1p-11f)));
  return t[0] != 0;
}

TEST(MatmulEmulatedAvx512, EdgesOfTilesPanelsAndBlocks) { expect_edges(kFn, fused(), 200000); }
TEST(MatmulEmulatedAvx512, Empty) { expect_empty(kFn, fused()); }
TEST(MatmulEmulatedAvx512, Batches) { expect_batches(kFn, fused()); }
TEST(MatmulEmulatedAvx512, Flattened) { expect_flat(kFn, fused()); }

using matmul_weights_check::expect_all, linear_check::blocks, linear_check::kF16;
TEST(MatmulWeightsEmulatedAvx512, F16) { expect_all(avx512_simde::matmul_f16, fused(), kF16); }
TEST(MatmulWeightsEmulatedAvx512, Q8_0) { expect_all(avx512_simde::matmul_q8_0, fused(), blocks(Layout::q8_0)); }
TEST(MatmulWeightsEmulatedAvx512, Q4_0) { expect_all(avx512_simde::matmul_q4_0, fused(), blocks(Layout::q4_0)); }
TEST(MatmulWeightsEmulatedAvx512, Q4_1) { expect_all(avx512_simde::matmul_q4_1, fused(), blocks(Layout::q4_1)); }

}  // namespace
}  // namespace terrace
