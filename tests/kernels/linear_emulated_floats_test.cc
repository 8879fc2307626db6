// The AVX-512 floats kernels of linear, emulated: their arithmetic is checked on processors without AVX-512 too.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512/linear_floats.cc"

#include "kernels/linear_check.h"

namespace terrace {
namespace {

using namespace linear_check;

TEST(LinearEmulatedAvx512, F32F32) { expect_all({"f32.f32", kF32, kF32, avx512_simde::linear_f32_f32}); }
TEST(LinearEmulatedAvx512, F32F16) { expect_all({"f32.f16", kF32, kF16, avx512_simde::linear_f32_f16}); }
TEST(LinearEmulatedAvx512, F32Q8_0) {
  expect_all({"f32.q8_0", kF32, blocks(Layout::q8_0), avx512_simde::linear_f32_q8_0});
}
TEST(LinearEmulatedAvx512, F32Q4_0) {
  expect_all({"f32.q4_0", kF32, blocks(Layout::q4_0), avx512_simde::linear_f32_q4_0});
}
TEST(LinearEmulatedAvx512, F32Q4_1) {
  expect_all({"f32.q4_1", kF32, blocks(Layout::q4_1), avx512_simde::linear_f32_q4_1});
}

}  // namespace
}  // namespace terrace
