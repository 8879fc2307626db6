// matmul of f32 with f32 and with weights.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/matmul_weights.h"
#include "terrace/kernels/cpu/portable/decode.h"
#include "terrace/kernels/cpu/portable/turn.h"
#include "terrace/kernels/cpu/portable/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::portable {

TERRACE_MATMUL_KERNELS(TERRACE_DEFINE)
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DEFINE_WEIGHT)
extern const ListedKernel kMatmul[kMatmulKernels] = {TERRACE_MATMUL_KERNELS(TERRACE_ROW)};

}  // namespace terrace::portable
