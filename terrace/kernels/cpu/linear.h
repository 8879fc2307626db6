// The matrix kernels: y = x w^T for activations in 8-bit blocks or float, and weights as they lie in the file.
#pragma once

#include "terrace/kernels/kernel.h"

namespace terrace {

// linear(x [n, k], w [r, k]) -> y f32 [n, r], with
//   x q8a (k a multiple of 32) and w q8_0, q4_0 or q4_1;
//   x f32 and w f32 or f16 (any k), q8_0, q4_0 or q4_1 (k a multiple of 32).
// stride[0] of x, w and y may be larger than a packed row: w may be a slice of rows and y a slice of columns.
//
// Order of additions. An output's bits depend on its row of x, its row of w and the instruction set; never on n, on r,
// on where the slices begin, or on the worker or number of workers.
//   x q8a: four partial sums per output; block b (of 32 elements) goes to partial sum b mod 4, blocks in rising order,
//   as
//     (d_w d_x) * dot, with dot the exact integer sum of the block; for q4_1 m_w * s_x follows into the same partial
//     sum. The end: (a0 + a1) + (a2 + a3). avx2 and avx512 use fused multiply-adds and agree with each other bit for
//     bit; portable rounds the products. The q8a row's s must be d * sum(q), as the layout says: the exact sum is taken
//     from it.
//   x f32: element e goes to lane e mod L in rising order, L = 4 (portable), 8 (avx2) or 16 (avx512); quantized weights
//   are
//     first dequantized to f32 (q4_1 by a fused multiply-add where there is one). The end: lane i + lane i + L/2, and
//     so on by halves. A last chunk that is not full is filled with zeros.
//
// The work is split among workers by rows of w in runs aligned to 16 rows (64 bytes of y), or by rows of x when w has
// few rows. Nothing is allocated; at most 16 KiB of stack are used, and no scratch.

/// linear.{x}.{w}.{isa} for every pair of formats above.
void register_linear_portable(KernelTable& table);
void register_linear_avx2(KernelTable& table);
void register_linear_avx512(KernelTable& table);

#define TERRACE_LINEAR_KERNELS               \
  void linear_q8a_q8_0(const KernelArgs& a); \
  void linear_q8a_q4_0(const KernelArgs& a); \
  void linear_q8a_q4_1(const KernelArgs& a); \
  void linear_f32_f32(const KernelArgs& a);  \
  void linear_f32_f16(const KernelArgs& a);  \
  void linear_f32_q8_0(const KernelArgs& a); \
  void linear_f32_q4_0(const KernelArgs& a); \
  void linear_f32_q4_1(const KernelArgs& a);

namespace portable {
TERRACE_LINEAR_KERNELS
}
namespace avx2 {
TERRACE_LINEAR_KERNELS
}
namespace avx512 {
TERRACE_LINEAR_KERNELS
}

}  // namespace terrace
