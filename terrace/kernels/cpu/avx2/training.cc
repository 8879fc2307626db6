// The vector kernels of ../training.h.
#include "terrace/kernels/cpu/training.h"
#include "terrace/kernels/cpu/avx2/vec.h"
// The bodies need the vectors.
#include "terrace/kernels/cpu/body/activation.h"
#include "terrace/kernels/cpu/body/columns.h"
#include "terrace/kernels/cpu/body/dropout.h"
#include "terrace/kernels/cpu/body/fused.h"
#include "terrace/kernels/cpu/body/loss.h"
#include "terrace/kernels/cpu/body/norm.h"
#include "terrace/kernels/cpu/body/norm_grad.h"
#include "terrace/kernels/cpu/body/optimizer.h"
#include "terrace/kernels/cpu/body/optimizer_parts.h"

namespace terrace::avx2 {

TERRACE_TRAINING_KERNELS(TERRACE_DEFINE)
extern const ListedKernel kTraining[kTrainingKernels] = {TERRACE_TRAINING_KERNELS(TERRACE_ROW)};

}  // namespace terrace::avx2
