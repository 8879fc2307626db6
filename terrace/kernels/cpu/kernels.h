// The CPU kernels other than `linear`. Files of an instruction set define these and nothing else that is visible, so
// that no code built for it can end up in a program's common part; names and formats are in register_*.cc.
#pragma once

#include "terrace/kernels/kernel.h"

namespace terrace {

// Bits of a result depend on its row and the instruction set only: never on n, on the slice, or on the workers.
//   elementwise, rope, append_rows, quantize: each element by itself (quantize: each block; the same bytes everywhere)
//   rms_norm: 4 L sums (L lanes of a vector), element c in sum c mod 4 L; (s0 + s1) + (s2 + s3), then lanes by halves
//   softmax: the exponentials are summed in the same way
//   attention: see body/attention.h
#define TERRACE_CPU_KERNELS                   \
  void quantize(const KernelArgs& a);         \
  void rms_norm(const KernelArgs& a);         \
  void softmax(const KernelArgs& a);          \
  void add(const KernelArgs& a);              \
  void mul(const KernelArgs& a);              \
  void silu(const KernelArgs& a);             \
  void silu_mul(const KernelArgs& a);         \
  void rope(const KernelArgs& a);             \
  void append_rows_f16(const KernelArgs& a);  \
  void append_rows_q8_0(const KernelArgs& a); \
  void attention_f16(const KernelArgs& a);    \
  void attention_f32(const KernelArgs& a);    \
  void attention_q8_0(const KernelArgs& a);

namespace portable {
TERRACE_CPU_KERNELS
// What needs no vectors is here only.
void take_rows(const KernelArgs& a);
void last_rows(const KernelArgs& a);
void dequantize(const KernelArgs& a);
void append_rows_f32(const KernelArgs& a);
void rope_angles(const KernelArgs& a);
void positions(const KernelArgs& a);
}  // namespace portable
namespace avx2 {
TERRACE_CPU_KERNELS
}
namespace avx512 {
TERRACE_CPU_KERNELS
}

/// Adds the kernels of TERRACE_CPU_KERNELS under their names; `fns` in the order of the list.
inline constexpr int kCpuKernels = 13;
void register_cpu_kernels(KernelTable& table, Isa isa, const KernelFn (&fns)[kCpuKernels]);

}  // namespace terrace
