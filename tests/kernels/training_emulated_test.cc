// The AVX-512 training kernels, emulated: checked on processors without AVX-512 too.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512/training.cc"

#include "kernels/fused_check_ops.h"

namespace terrace {
namespace {

using namespace training_check;

const KernelTable& table() {
  static const KernelTable t = [] {
    KernelTable made;
    add_kernels(made, Isa::avx512, avx512_simde::kTraining, kTrainingKernels);
    return made;
  }();
  return t;
}

TEST(EmulatedTraining, Elementwise) { expect_elementwise(table()); }
TEST(EmulatedTraining, Bf16) { expect_bf16(table()); }
TEST(EmulatedTraining, NormsToBf16) { expect_norms_to_bf16(table()); }
TEST(EmulatedTraining, Norms) { expect_norms(table()); }
TEST(EmulatedTraining, Sums) { expect_sums(table()); }
TEST(EmulatedTraining, Loss) { expect_loss(table(), false); }
TEST(EmulatedTraining, Dropout) { expect_dropout(table()); }
TEST(EmulatedTraining, Casts) { expect_casts(table()); }
TEST(EmulatedTraining, Optimizers) { expect_optimizers(table()); }
TEST(EmulatedTraining, OptimizerParts) { expect_optimizer_parts(table()); }
TEST(EmulatedTraining, CausalSoftmax) { expect_causal_softmax(table()); }
TEST(EmulatedTraining, AddAndNorm) { expect_add_norms(table()); }
TEST(EmulatedTraining, NormGradientAndAdd) { expect_norm_grad_add(table()); }
TEST(EmulatedTraining, BiasAndActivation) { expect_bias_activations(table()); }

}  // namespace
}  // namespace terrace
