// matmul of f32 with f32 and with weights.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/avx2/decode.h"
#include "terrace/kernels/cpu/avx2/turn.h"
#include "terrace/kernels/cpu/avx2/vec.h"
#include "terrace/kernels/cpu/matmul_weights.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::avx2 {

TERRACE_MATMUL_KERNELS(TERRACE_DEFINE)
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DEFINE_WEIGHT)
extern const ListedKernel kMatmul[kMatmulKernels] = {TERRACE_MATMUL_KERNELS(TERRACE_ROW)};

}  // namespace terrace::avx2
