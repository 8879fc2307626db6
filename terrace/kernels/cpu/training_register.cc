// Registration of the training kernels: built for any processor.
#include "terrace/kernels/cpu/training.h"

namespace terrace {
namespace portable {
namespace {
constexpr ListedKernel kPlainTraining[] = {TERRACE_PLAIN_TRAINING_KERNELS(TERRACE_ROW)};
}
}  // namespace portable

void register_training_portable(KernelTable& table) {
  add_kernels(table, Isa::portable, portable::kTraining, kTrainingKernels);
  add_kernels(table, Isa::portable, portable::kPlainTraining, kPlainTrainingKernels);
}
#if defined(__x86_64__)
void register_training_avx2(KernelTable& table) { add_kernels(table, Isa::avx2, avx2::kTraining, kTrainingKernels); }
void register_training_avx512(KernelTable& table) {
  add_kernels(table, Isa::avx512, avx512::kTraining, kTrainingKernels);
}
#else
void register_training_avx2(KernelTable&) {}
void register_training_avx512(KernelTable&) {}
#endif

}  // namespace terrace
