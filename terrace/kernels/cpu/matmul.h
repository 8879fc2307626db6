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
// each later block's sum is added to it. So k may be cut at multiples of kMatmulDepth and what follows be added.
//
// Workers share panels of columns of all matrices of the batch, or tiles of their rows if that is fairer. Each packs
// what it needs of a and b in a part of the scratch that is its own.
inline constexpr i64 kMatmulDepth = 384;    ///< k of a block
inline constexpr i64 kMatmulColumns = 512;  ///< columns of b packed at a time, at most
inline constexpr i64 kMatmulTileRows = 16;  ///< room for a tile of rows of a

/// Bytes of scratch of one worker, a multiple of 64 and at most 793 KiB; m does not matter.
static inline u64 matmul_scratch(i64 n, i64 k) {
  const i64 depth = k < kMatmulDepth ? (k + 15) / 16 * 16 : kMatmulDepth;
  const i64 columns = n < kMatmulColumns ? (n + 31) / 32 * 32 : kMatmulColumns;
  return static_cast<u64>(4 * (depth * columns + kMatmulTileRows * (kMatmulDepth + 16)));
}

#define TERRACE_MATMUL_KERNELS(X) X(matmul_f32, "matmul", "fff")

inline constexpr int kMatmulKernels = 0 TERRACE_MATMUL_KERNELS(TERRACE_COUNT);

namespace portable {
extern const ListedKernel kMatmul[kMatmulKernels];
}
namespace avx2 {
extern const ListedKernel kMatmul[kMatmulKernels];
}
namespace avx512 {
extern const ListedKernel kMatmul[kMatmulKernels];
}

void register_matmul_portable(KernelTable& table);
void register_matmul_avx2(KernelTable& table);
void register_matmul_avx512(KernelTable& table);

}  // namespace terrace
