// The AVX-512 kernels other than `linear`, emulated: checked on processors without AVX-512 too.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512/attention.cc"
#include "terrace/kernels/cpu/avx512/small.cc"

#include "kernels/cpu_check_ops.h"
#include "kernels/vec_check.h"

namespace terrace {
namespace {

using namespace cpu_check;
namespace e = avx512_simde;

const KernelTable& table() {
  static const KernelTable t = [] {
    KernelTable made;
    register_cpu_kernels(
        made, Isa::avx512,
        {e::quantize, e::rms_norm, e::softmax, e::add, e::mul, e::silu, e::silu_mul, e::rope, e::append_rows_f16,
         e::append_rows_q8_0, e::attention_f16, e::attention_f32, e::attention_q8_0});
    return made;
  }();
  return t;
}

TEST(EmulatedAvx512, Elementwise) { expect_elementwise(table()); }
TEST(EmulatedAvx512, Norms) { expect_norms(table()); }
TEST(EmulatedAvx512, Rope) { expect_rope(table()); }
TEST(EmulatedAvx512, Quantize) { expect_quantize(table()); }
TEST(EmulatedAvx512, Append) { expect_append(table()); }
TEST(EmulatedAvx512, ExpWithinTwoUnits) { expect_exp(100003); }
TEST(EmulatedAvx512, Halves) { expect_halves(); }
TEST(EmulatedAvx512, Attention) { expect_attention(table()); }

}  // namespace
}  // namespace terrace
