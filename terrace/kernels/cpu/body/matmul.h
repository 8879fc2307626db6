// matmul: tiles of c in registers against packed operands (Goto & van de Geijn 2008, doi 10.1145/1356052.1356053).
// A block of b is packed and stays in the core's cache while tiles of rows of a, packed one at a time, pass it. What a
// slot of the packed operands holds, and how two are multiplied, is a parameter (FloatSlots, RoundedSlots, PairSlots).
#pragma once

#include <cstring>

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/body/matmul_pack.h"
#include "terrace/kernels/cpu/body/matmul_weights.h"
#include "terrace/kernels/kernel.h"

namespace terrace {
namespace {

/// Rows of a tile: with two vectors of columns its sums fill the registers but for three.
inline constexpr int kTileRows = V::kLanes == 16 ? 14 : 6;

/// One product of two matrices, flattened or of a batch.
struct Product {
  TensorView a, b, c;
  bool turned_a, turned_b;
  i64 m, n, k;
  Packing pack;
  bool rounds;      ///< c is bf16: sums are kept in the scratch
  bool adds;        ///< to what lies in `base`
  TensorView base;  ///< may be c itself
};

/// c[r][column ..] (+)= the chain over slots t < depth of a[r][t] b[t][..], R rows by N vectors. c is asked for early,
/// so that it has arrived when the chains end.
template <class Slots, int R, int N>
[[gnu::noinline]] inline void multiply_tile(const float* a, const float* b, i64 depth, float* const* c, i64 column,
                                            bool add) {
  F s[R][N];  // in registers: loops over it must be unrolled before the compiler decides
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < N; ++v) {
      s[r][v] = V::set(0);
      __builtin_prefetch(c[r] + column + v * V::kLanes, 1);
    }
  }
  for (i64 t = 0; t < depth; ++t, b += kPanel) {
    F w[N];
#pragma GCC unroll 2
    for (int v = 0; v < N; ++v) w[v] = V::load(b + v * V::kLanes);
#pragma GCC unroll 14
    for (int r = 0; r < R; ++r) {
      const F x = V::set(a[r * kRowStride + t]);
#pragma GCC unroll 2
      for (int v = 0; v < N; ++v) s[r][v] = Slots::multiply(x, w[v], s[r][v]);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
    float* to = c[r] + column;
#pragma GCC unroll 2
    for (int v = 0; v < N; ++v, to += V::kLanes) V::store(to, add ? V::add(V::load(to), s[r][v]) : s[r][v]);
  }
}

/// The columns of a tile that are in c, where not all are.
[[gnu::noinline]] inline void put_edge(i64 rows, const float* tile, float* const* c, i64 column, i64 columns,
                                       bool add) {
  for (i64 r = 0; r < rows; ++r, tile += kPanel)
    for (i64 i = 0; i < columns; i += V::kLanes) {
      float* to = c[r] + column + i;
      const F x = V::load(tile + i);
      store_some(to, columns - i, add ? V::add(load_some(to, columns - i, 0), x) : x);
    }
}

using TileFn = void (*)(const float* a, const float* b, i64 depth, float* const* c, i64 column, bool add);
/// The functions for tiles of `rows` <= R rows, of one and two vectors of columns.
struct TileFns {
  TileFn narrow, wide;
};
template <class Slots, int R>
inline TileFns tiles_of(i64 rows) {
  if constexpr (R > 1)
    if (rows < R) return tiles_of<Slots, R - 1>(rows);
  return {multiply_tile<Slots, R, 1>, multiply_tile<Slots, R, 2>};
}

/// A tile of rows of c, over the packed columns.
template <class Slots>
inline void multiply_rows(i64 rows, const float* a, const float* b, i64 depth, i64 panel_floats, float* const* c,
                          i64 columns, bool add) {
  const TileFns tile = tiles_of<Slots, kTileRows>(rows);
  i64 j = 0;
  for (; j + kPanel <= columns; j += kPanel, b += panel_floats) tile.wide(a, b, depth, c, j, add);
  if (j == columns) return;
  float spare[kTileRows * kPanel], *edge[kTileRows];
  for (int r = 0; r < kTileRows; ++r) edge[r] = spare + r * kPanel;
  (columns - j > V::kLanes ? tile.wide : tile.narrow)(a, b, depth, edge, 0, false);
  put_edge(rows, spare, c, j, columns - j, add);
}

/// Where a worker packs, and sums up what is rounded at the end.
struct MatmulScratch {
  float *a, *b, *sums;
  i64 sums_stride;
  MatmulScratch(const KernelArgs& args, const Product& p) : sums_stride(matmul_columns(p.n)) {
    const u64 packed = matmul_scratch(p.n, p.k), own = packed + (p.rounds ? matmul_sums(p.m, p.n, p.k) : 0);
    std::byte* at = args.scratch + static_cast<u64>(args.worker) * own;
    a = reinterpret_cast<float*>(at);
    b = a + kMatmulTileRows * kRowStride;
    sums = reinterpret_cast<float*>(at + packed);
  }
};

/// c[rows][columns] (+)= op(a)[rows][k0 ..] op(b)[k0 ..][columns], at most `depth` deep.
template <class Slots>
[[gnu::noinline]] inline void multiply_block(const Product& p, Range rows, Range columns, i64 k0, i64 depth,
                                             const MatmulScratch& scratch) {
  const i64 slots = (depth + Slots::kEntries - 1) / Slots::kEntries, padded = (slots + 15) / 16 * 16;
  const i64 n = columns.end - columns.begin;
  p.pack.b(p.b, columns.begin, n, k0, depth, scratch.b, padded);
  // Tiles as even as can be: a short one at the end would cost as much as a full one.
  const i64 count = rows.end - rows.begin, tiles = (count + kTileRows - 1) / kTileRows;
  for (i64 i = 0; i < tiles; ++i) {
    const i64 r0 = rows.begin + count * i / tiles, m = rows.begin + count * (i + 1) / tiles - r0;
    p.pack.a(p.a, r0, m, k0, depth, scratch.a);
    float* c[kTileRows];
    for (i64 r = 0; r < m; ++r)
      c[r] = p.rounds ? scratch.sums + (depth < p.k ? r0 - rows.begin + r : r) * scratch.sums_stride
                      : floats_at(p.c, r0 + r) + columns.begin;
    multiply_rows<Slots>(m, scratch.a, scratch.b, slots, padded * kPanel, c, n, k0 > 0 || p.adds);
    if (!p.rounds || k0 + depth < p.k) continue;
    for (i64 r = 0; r < m; ++r) {
      Bf16* to = reinterpret_cast<Bf16*>(row_at(p.c, r0 + r)) + columns.begin;
      for (i64 j = 0; j < n; j += V::kLanes) store_some(to + j, n - j, V::load(c[r] + j));
    }
  }
}

/// `at_once`: columns packed at a time.
template <class Slots>
inline void multiply_part(const Product& p, Range rows, Range columns, i64 at_once, const MatmulScratch& scratch) {
  constexpr i64 kDepth = Slots::kEntries * kMatmulDepth;
  const i64 n = columns.end - columns.begin, blocks = (n + at_once - 1) / at_once;
  const i64 most = p.rounds && p.k > kDepth ? kMatmulSumRows : p.m;  // rows whose sums are kept
  for (int i = 0; i < blocks; ++i) {
    Range some = share(n, kPanel, i, static_cast<int>(blocks));
    some = {columns.begin + some.begin, columns.begin + some.end};
    if (p.adds && p.base.data != p.c.data)
      for (i64 r = rows.begin; r < rows.end; ++r)
        std::memcpy(floats_at(p.c, r) + some.begin, floats_at(p.base, r) + some.begin,
                    static_cast<std::size_t>(4 * (some.end - some.begin)));
    if (p.k == 0 && !p.adds)
      for (i64 r = rows.begin; r < rows.end; ++r) {
        const i64 size = p.rounds ? 2 : 4;
        std::memset(row_at(p.c, r) + size * some.begin, 0, static_cast<std::size_t>(size * (some.end - some.begin)));
      }
    for (i64 r = rows.begin; r < rows.end; r += most)
      for (i64 k0 = 0; k0 < p.k; k0 += kDepth)
        multiply_block<Slots>(p, {r, least(r + most, rows.end)}, some, k0, least(p.k - k0, kDepth), scratch);
  }
}

/// Columns whose block takes three quarters of the core's cache.
inline i64 columns_at_once(u64 cache_bytes) {
  if (cache_bytes == 0) return kMatmulColumns;
  const i64 fit = static_cast<i64>(cache_bytes / 4 * 3) / (4 * kMatmulDepth) / kPanel * kPanel;
  return fit < 128 ? 128 : least(fit, kMatmulColumns);
}

using PackingFn = Packing (*)(const TensorView& a, bool turned_a, const TensorView& b, bool turned_b);

/// `in`: a and b; `base`: what is added to, or null.
template <class Arithmetic>
inline void multiply_matrices(const KernelArgs& args, const TensorView* in, const TensorView* base, PackingFn packing) {
  Product p;
  p.turned_a = args.ints[0] != 0;
  p.turned_b = args.ints[1] != 0;
  const bool flat = args.ints[2] != 0;
  const auto matrix = [&](const TensorView& v, i64 i) { return flat ? flattened(v) : matrix_at(v, i); };
  i64 batch = 1;
  for (int a = 0; !flat && a + 2 < in[0].rank; ++a) batch *= in[0].dim[a];
  if (batch == 0) return;
  p.a = matrix(in[0], 0);
  p.b = matrix(in[1], 0);
  p.m = p.turned_a ? columns_of(p.a) : rows_of(p.a);
  p.k = p.turned_a ? rows_of(p.a) : columns_of(p.a);
  p.n = p.turned_b ? rows_of(p.b) : columns_of(p.b);
  if (p.m == 0 || p.n == 0) return;
  p.rounds = args.out[0].dtype == DType::bf16;
  p.adds = base != nullptr;
  p.pack = packing(p.a, p.turned_a, p.b, p.turned_b);

  // Pieces of all matrices in one row, cut where it is fairest.
  const i64 across = (p.n + kPanel - 1) / kPanel, down = (p.m + kTileRows - 1) / kTileRows;
  const auto most = [&](i64 pieces) { return (batch * pieces + args.workers - 1) / args.workers; };
  const bool by_rows = most(down) * kTileRows * p.n < most(across) * kPanel * p.m;
  const i64 pieces = by_rows ? down : across, unit = by_rows ? kTileRows : kPanel, all = by_rows ? p.m : p.n;
  const Range mine = share(batch * pieces, 1, args.worker, args.workers);
  if (mine.begin == mine.end) return;
  const i64 at_once = columns_at_once(args.core_cache_bytes);
  const MatmulScratch scratch(args, p);
  for (i64 i = mine.begin / pieces; i * pieces < mine.end; ++i) {
    const i64 first = mine.begin > i * pieces ? mine.begin - i * pieces : 0, end = least(mine.end - i * pieces, pieces);
    const Range part = {first * unit, least(end * unit, all)};
    p.a = matrix(in[0], i);
    p.b = matrix(in[1], i);
    p.c = matrix(args.out[0], i);
    if (p.adds) p.base = matrix(*base, i);
    multiply_part<Arithmetic>(p, by_rows ? part : Range{0, p.m}, by_rows ? Range{0, p.n} : part, at_once, scratch);
  }
}

template <class Slots>
inline void matmul_body(const KernelArgs& args) {
  multiply_matrices<typename Slots::Arithmetic>(args, args.in, nullptr, Slots::packing);
}
template <class Slots>
inline void matmul_add_body(const KernelArgs& args) {
  multiply_matrices<typename Slots::Arithmetic>(args, args.in + 1, args.in, Slots::packing);
}

}  // namespace
}  // namespace terrace
