// matmul: what the product of two float matrices promises, its kernels and their scratch.
#pragma once

#include "terrace/kernels/cpu/list.h"

namespace terrace {

// matmul(a, b) -> c = op(a) op(b) as ops.h says, any extents, any strides between rows.
//
// Order of additions. An output's bits depend on its row of op(a), its column of op(b) and the instruction set; never
// on where the slices begin, on the other extents, on the batch or on the workers. The k products are taken in blocks
// of kMatmulDepth, in rising order: within a block they make one chain of multiply-adds that begins with zero (fused in
// avx2 and avx512, which agree bit for bit; rounded twice in portable); the sum of the first block is the result, and
// each later block's sum is added to it. matmul_add adds the first block's to c as well. So k may be cut at multiples
// of kMatmulDepth and what follows be added, with the same bits.
//
// Where an operand or the result is bf16, operands are rounded to bf16 while they are packed. avx512bf16 takes them in
// pairs along k, as VDPBF16PS does: a block is 2 kMatmulDepth deep, a chain adds pair after pair (the order within a
// pair and its roundings are the processor's; subnormal numbers count as 0). Elsewhere the order is the one above.
//
// Workers share panels of columns of all matrices of the batch, or tiles of their rows if that is fairer. Each packs
// what it needs of a and b in a part of the scratch that is its own.
inline constexpr i64 kMatmulDepth = 384;    ///< k of a block
inline constexpr i64 kMatmulColumns = 512;  ///< columns of b packed at a time, at most
inline constexpr i64 kMatmulTileRows = 16;  ///< room for a tile of rows of a

inline constexpr i64 kMatmulSumRows = 448;  ///< rows of a bf16 result whose sums wait, where k has several blocks

/// Columns packed at a time, in whole panels.
static inline i64 matmul_columns(i64 n) { return n < kMatmulColumns ? (n + 31) / 32 * 32 : kMatmulColumns; }
/// Bytes of scratch of one worker, a multiple of 64 and at most 793 KiB; m does not matter.
static inline u64 matmul_scratch(i64 n, i64 k) {
  const i64 depth = k < kMatmulDepth ? (k + 15) / 16 * 16 : kMatmulDepth;
  return static_cast<u64>(4 * (depth * matmul_columns(n) + kMatmulTileRows * (kMatmulDepth + 16)));
}
/// Bytes behind it where the result is bf16: sums before they are rounded, a multiple of 64 and at most 896 KiB.
static inline u64 matmul_sums(i64 m, i64 n, i64 k) {
  const i64 rows = k <= kMatmulDepth ? kMatmulTileRows : m < kMatmulSumRows ? m : kMatmulSumRows;
  return static_cast<u64>(4 * (rows < kMatmulTileRows ? kMatmulTileRows : rows) * matmul_columns(n));
}

/// With bf16 among the operands: a, b, result.
#define TERRACE_MATMUL_BF16(X, fn) \
  X(fn, "matmul", "hhh")           \
  X(fn, "matmul", "hhf")           \
  X(fn, "matmul", "hfh")           \
  X(fn, "matmul", "hff")           \
  X(fn, "matmul", "fhh")           \
  X(fn, "matmul", "fhf")           \
  X(fn, "matmul", "ffh")

/// matmul_add: c, a, b, result.
#define TERRACE_MATMUL_ADD_BF16(X, fn) \
  X(fn, "matmul_add", "fhhf")          \
  X(fn, "matmul_add", "fhff")          \
  X(fn, "matmul_add", "ffhf")

inline constexpr int kMatmulBf16Kernels =
    0 TERRACE_MATMUL_BF16(TERRACE_COUNT, ) TERRACE_MATMUL_ADD_BF16(TERRACE_COUNT, );
inline constexpr int kMatmulKernels = 2 + kMatmulBf16Kernels;

namespace portable {
extern const ListedKernel kMatmul[kMatmulKernels];
}
namespace avx2 {
extern const ListedKernel kMatmul[kMatmulKernels];
}
namespace avx512 {
extern const ListedKernel kMatmul[kMatmulKernels];
}
namespace avx512_bf16 {
extern const ListedKernel kMatmul[kMatmulBf16Kernels];
}

void register_matmul_portable(KernelTable& table);
void register_matmul_avx2(KernelTable& table);
void register_matmul_avx512(KernelTable& table);
void register_matmul_avx512_bf16(KernelTable& table);

}  // namespace terrace
