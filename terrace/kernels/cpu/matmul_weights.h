// matmul of f32 with a weight as it lies in a file: the frozen matrices of fine-tuning, forward (x w^T) and back (dy
// w).
#pragma once

#include "terrace/kernels/kernel.h"

namespace terrace {

// The order of additions is that of matmul.h, over the floats that the weight's elements stand for, which are exact: a
// half times an integer of 8 bits is a float, and q4_1's sum is rounded once. Blocks run along the rows of b,
// transposed or not. b is flattened (ints[2]); any extents, but that block layouts have whole blocks in a row.

#define TERRACE_MATMUL_WEIGHT_KERNELS(X) \
  X(matmul_f16, F16)                     \
  X(matmul_q8_0, Q8_0)                   \
  X(matmul_q4_0, Q4_0)                   \
  X(matmul_q4_1, Q4_1)

#define TERRACE_DECLARE_WEIGHT(fn, format) void fn(const KernelArgs& a);
namespace portable {
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DECLARE_WEIGHT)
}
namespace avx2 {
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DECLARE_WEIGHT)
}
namespace avx512 {
TERRACE_MATMUL_WEIGHT_KERNELS(TERRACE_DECLARE_WEIGHT)
}

/// "matmul.f32.{weight}.{isa}".
void register_matmul_weights_portable(KernelTable& table);
void register_matmul_weights_avx2(KernelTable& table);
void register_matmul_weights_avx512(KernelTable& table);

#define TERRACE_DEFINE_WEIGHT(fn, format) \
  void fn(const KernelArgs& a) { matmul_body<WeightSlots<format>>(a); }

}  // namespace terrace
