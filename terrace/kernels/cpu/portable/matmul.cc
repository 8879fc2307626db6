// matmul in f32.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/portable/turn.h"
#include "terrace/kernels/cpu/portable/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::portable {

TERRACE_MATMUL_KERNELS(TERRACE_DEFINE)
extern const ListedKernel kMatmul[kMatmulKernels] = {TERRACE_MATMUL_KERNELS(TERRACE_ROW)};

}  // namespace terrace::portable
