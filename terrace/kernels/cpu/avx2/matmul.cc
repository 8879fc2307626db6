// matmul in f32.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/avx2/turn.h"
#include "terrace/kernels/cpu/avx2/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::avx2 {

TERRACE_MATMUL_KERNELS(TERRACE_DEFINE)
extern const ListedKernel kMatmul[kMatmulKernels] = {TERRACE_MATMUL_KERNELS(TERRACE_ROW)};

}  // namespace terrace::avx2
