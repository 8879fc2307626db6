// matmul in f32, also with weights; of bf16, whose numbers are floats when they are multiplied.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/matmul_weights.h"
#include "terrace/kernels/cpu/portable/decode.h"
#include "terrace/kernels/cpu/portable/turn.h"
#include "terrace/kernels/cpu/portable/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace::portable {

void matmul_f32(const KernelArgs& a) { matmul_body<FloatSlots>(a); }
void matmul_rounded(const KernelArgs& a) { matmul_body<RoundedSlots>(a); }
void matmul_add_f32(const KernelArgs& a) { matmul_add_body<FloatSlots>(a); }
void matmul_add_rounded(const KernelArgs& a) { matmul_add_body<RoundedSlots>(a); }
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DEFINE_WEIGHT)
extern const ListedKernel kMatmul[kMatmulKernels] = {{"matmul", "fff", matmul_f32},
                                                     {"matmul_add", "ffff", matmul_add_f32},
                                                     TERRACE_MATMUL_BF16(TERRACE_ROW, matmul_rounded)
                                                         TERRACE_MATMUL_ADD_BF16(TERRACE_ROW, matmul_add_rounded)};

}  // namespace terrace::portable
