// matmul in f32; of bf16, whose numbers are floats when they are multiplied.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/portable/turn.h"
#include "terrace/kernels/cpu/portable/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::portable {

void matmul_f32(const KernelArgs& a) { matmul_body<FloatSlots>(a); }
void matmul_rounded(const KernelArgs& a) { matmul_body<RoundedSlots>(a); }
extern const ListedKernel kMatmul[kMatmulKernels] = {{"matmul", "fff", matmul_f32},
                                                     TERRACE_MATMUL_BF16(TERRACE_ROW, matmul_rounded)};

}  // namespace terrace::portable
