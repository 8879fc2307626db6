// matmul in f32.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/avx512/turn.h"
#include "terrace/kernels/cpu/avx512/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::TERRACE_AVX512 {

TERRACE_MATMUL_KERNELS(TERRACE_DEFINE)
extern const ListedKernel kMatmul[kMatmulKernels] = {TERRACE_MATMUL_KERNELS(TERRACE_ROW)};

}  // namespace terrace::TERRACE_AVX512
