// matmul: tiles of c in registers against packed operands (Goto & van de Geijn 2008, doi 10.1145/1356052.1356053).
// A block of b is packed and stays in the core's cache while tiles of rows of a, packed one at a time, pass it.
#pragma once

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
  RowReader read_b{};  ///< how, if b is not f32
};

/// c[r][column ..] (+)= the chain over t < depth of a[r][t] b[t][..], R rows by N vectors. c is asked for early, so
/// that it has arrived when the chains end.
template <int R, int N>
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
      for (int v = 0; v < N; ++v) s[r][v] = V::fma(x, w[v], s[r][v]);
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
template <int R>
inline TileFns tiles_of(i64 rows) {
  if constexpr (R > 1)
    if (rows < R) return tiles_of<R - 1>(rows);
  return {multiply_tile<R, 1>, multiply_tile<R, 2>};
}

/// A tile of rows of c, over the packed columns.
inline void multiply_rows(i64 rows, const float* a, const float* b, i64 depth, i64 panel_floats, float* const* c,
                          i64 columns, bool add) {
  const TileFns tile = tiles_of<kTileRows>(rows);
  i64 j = 0;
  for (; j + kPanel <= columns; j += kPanel, b += panel_floats) tile.wide(a, b, depth, c, j, add);
  if (j == columns) return;
  float spare[kTileRows * kPanel], *edge[kTileRows];
  for (int r = 0; r < kTileRows; ++r) edge[r] = spare + r * kPanel;
  (columns - j > V::kLanes ? tile.wide : tile.narrow)(a, b, depth, edge, 0, false);
  put_edge(rows, spare, c, j, columns - j, add);
}

/// Columns column .. column+columns-1 of op(b), its rows k0 .. k0+depth-1, in panels of `padded` rows.
inline void pack_b(const Product& p, i64 column, i64 columns, i64 k0, i64 depth, float* to, i64 padded) {
  if (p.read_b.decode && p.turned_b)
    pack_read_turned_panels(p.read_b, p.b, column, columns, k0, depth, to, padded);
  else if (p.read_b.decode)
    pack_read_panels(p.read_b, p.b, k0, depth, column, columns, to, padded);
  else if (p.turned_b)
    pack_turned_panels(p.b, column, columns, k0, depth, to, padded);
  else
    pack_panels(p.b, k0, depth, column, columns, to, padded);
}

/// c[rows][columns] (+)= op(a)[rows][k0 ..] op(b)[k0 ..][columns], at most kMatmulDepth deep; `scratch` holds both.
[[gnu::noinline]] inline void multiply_block(const Product& p, Range rows, Range columns, i64 k0, float* scratch) {
  const i64 depth = least(p.k - k0, kMatmulDepth), padded = (depth + 15) / 16 * 16, n = columns.end - columns.begin;
  float *a = scratch, *b = scratch + kMatmulTileRows * kRowStride;
  pack_b(p, columns.begin, n, k0, depth, b, padded);
  // Tiles as even as can be: a short one at the end would cost as much as a full one.
  const i64 count = rows.end - rows.begin, tiles = (count + kTileRows - 1) / kTileRows;
  for (i64 i = 0; i < tiles; ++i) {
    const i64 r0 = rows.begin + count * i / tiles, m = rows.begin + count * (i + 1) / tiles - r0;
    if (p.turned_a)
      pack_turned(p.a, k0, depth, r0, m, a, kRowStride);
    else
      pack_rows(p.a, r0, m, k0, depth, a);
    float* c[kTileRows];
    for (i64 r = 0; r < m; ++r) c[r] = floats_at(p.c, r0 + r) + columns.begin;
    multiply_rows(m, a, b, depth, padded * kPanel, c, n, k0 > 0);
  }
}

/// `at_once`: columns packed at a time.
inline void multiply_part(const Product& p, Range rows, Range columns, i64 at_once, float* scratch) {
  const i64 n = columns.end - columns.begin, blocks = (n + at_once - 1) / at_once;
  for (int i = 0; i < blocks; ++i) {
    Range some = share(n, kPanel, i, static_cast<int>(blocks));
    some = {columns.begin + some.begin, columns.begin + some.end};
    if (p.k == 0)
      for (i64 r = rows.begin; r < rows.end; ++r)
        for (i64 c = some.begin; c < some.end; ++c) floats_at(p.c, r)[c] = 0;
    for (i64 k0 = 0; k0 < p.k; k0 += kMatmulDepth) multiply_block(p, rows, some, k0, scratch);
  }
}

/// Columns whose block takes three quarters of the core's cache.
inline i64 columns_at_once(u64 cache_bytes) {
  if (cache_bytes == 0) return kMatmulColumns;
  const i64 fit = static_cast<i64>(cache_bytes / 4 * 3) / (4 * kMatmulDepth) / kPanel * kPanel;
  return fit < 128 ? 128 : least(fit, kMatmulColumns);
}

inline void multiply_matrices(const KernelArgs& args, const RowReader& read_b) {
  Product p;
  p.read_b = read_b;
  p.turned_a = args.ints[0] != 0;
  p.turned_b = args.ints[1] != 0;
  const bool flat = args.ints[2] != 0;
  const auto matrix = [&](const TensorView& v, i64 i) { return flat ? flattened(v) : matrix_at(v, i); };
  i64 batch = 1;
  for (int a = 0; !flat && a + 2 < args.in[0].rank; ++a) batch *= args.in[0].dim[a];
  if (batch == 0) return;
  p.a = matrix(args.in[0], 0);
  p.b = matrix(args.in[1], 0);
  p.m = p.turned_a ? columns_of(p.a) : rows_of(p.a);
  p.k = p.turned_a ? rows_of(p.a) : columns_of(p.a);
  p.n = p.turned_b ? rows_of(p.b) : columns_of(p.b);
  if (p.m == 0 || p.n == 0) return;

  // Pieces of all matrices in one row, cut where it is fairest.
  const i64 across = (p.n + kPanel - 1) / kPanel, down = (p.m + kTileRows - 1) / kTileRows;
  const auto most = [&](i64 pieces) { return (batch * pieces + args.workers - 1) / args.workers; };
  const bool by_rows = most(down) * kTileRows * p.n < most(across) * kPanel * p.m;
  const i64 pieces = by_rows ? down : across, unit = by_rows ? kTileRows : kPanel, all = by_rows ? p.m : p.n;
  const Range mine = share(batch * pieces, 1, args.worker, args.workers);
  if (mine.begin == mine.end) return;
  const i64 at_once = columns_at_once(args.core_cache_bytes);
  auto* scratch = reinterpret_cast<float*>(args.scratch + static_cast<u64>(args.worker) * matmul_scratch(p.n, p.k));
  for (i64 i = mine.begin / pieces; i * pieces < mine.end; ++i) {
    const i64 first = mine.begin > i * pieces ? mine.begin - i * pieces : 0, end = least(mine.end - i * pieces, pieces);
    const Range part = {first * unit, least(end * unit, all)};
    p.a = matrix(args.in[0], i);
    p.b = matrix(args.in[1], i);
    p.c = matrix(args.out[0], i);
    multiply_part(p, by_rows ? part : Range{0, p.m}, by_rows ? Range{0, p.n} : part, at_once, scratch);
  }
}

inline void matmul_f32_body(const KernelArgs& args) { multiply_matrices(args, {}); }

}  // namespace
}  // namespace terrace
