// The AVX-512 blocks kernels of linear, emulated: their arithmetic is checked on processors without AVX-512 too.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512/linear.cc"

#include "kernels/linear_check.h"

namespace terrace {
namespace {

using namespace linear_check;

TEST(LinearEmulatedAvx512, Q8aQ8_0) {
  expect_all({"q8a.q8_0", kQ8a, blocks(Layout::q8_0), avx512_simde::linear_q8a_q8_0});
}
TEST(LinearEmulatedAvx512, Q8aQ4_0) {
  expect_all({"q8a.q4_0", kQ8a, blocks(Layout::q4_0), avx512_simde::linear_q8a_q4_0});
}
TEST(LinearEmulatedAvx512, Q8aQ4_1) {
  expect_all({"q8a.q4_1", kQ8a, blocks(Layout::q4_1), avx512_simde::linear_q8a_q4_1});
}

}  // namespace
}  // namespace terrace
