// matmul of f32 with f32 and with weights.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/avx512/decode.h"
#include "terrace/kernels/cpu/avx512/turn.h"
#include "terrace/kernels/cpu/avx512/vec.h"
#include "terrace/kernels/cpu/matmul_weights.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::TERRACE_AVX512 {

TERRACE_MATMUL_KERNELS(TERRACE_DEFINE)
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DEFINE_WEIGHT)
extern const ListedKernel kMatmul[kMatmulKernels] = {TERRACE_MATMUL_KERNELS(TERRACE_ROW)};

}  // namespace terrace::TERRACE_AVX512
