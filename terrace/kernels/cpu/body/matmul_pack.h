// How matmul packs its operands: rows as they lie or turned round, by squares. Include after a turn.h.
#pragma once

#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline constexpr i64 kPanel = 2 * V::kLanes;  ///< columns of b that lie together: [k][kPanel]
/// Floats between packed rows of a. No multiple of a page, so that the rows of a tile do not compete for cache sets.
inline constexpr i64 kRowStride = kMatmulDepth + 16;

inline i64 least(i64 a, i64 b) { return a < b ? a : b; }

/// A view of rank 2 that has the same rows, if they are evenly spaced; else the view itself, whose rows take longer to
/// find.
inline TensorView flattened(const TensorView& v) {
  for (int a = 0; a + 2 < v.rank; ++a)
    if (v.dim[a] > 1 && v.stride[a] != v.stride[a + 1] * v.dim[a + 1]) return v;
  TensorView flat = v;
  flat.rank = 2;
  flat.dim[0] = rows_of(v);
  flat.dim[1] = columns_of(v);
  flat.stride[0] = v.stride[v.rank - 2];
  return flat;
}

/// Matrix i of a batch over the leading axes.
inline TensorView matrix_at(const TensorView& v, i64 i) {
  TensorView m = v;
  for (int a = v.rank - 3; a >= 0; --a) {
    m.data += i % v.dim[a] * v.stride[a];
    i /= v.dim[a];
  }
  m.rank = 2;
  for (int a = 0; a < 2; ++a) {
    m.dim[a] = v.dim[v.rank - 2 + a];
    m.stride[a] = v.stride[v.rank - 2 + a];
  }
  return m;
}

/// to[kRowStride r + c] = m[row + r][column + c]. The next tile's rows are asked for: whatever lies there.
inline void pack_rows(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to) {
  for (i64 r = 0; r < rows; ++r, to += kRowStride) {
    const float *from = floats_at(m, row + r) + column, *next = floats_at(m, row + rows + r) + column;
    i64 c = 0;
    for (; c + V::kLanes <= columns; c += V::kLanes) {
      V::store(to + c, V::load(from + c));
      __builtin_prefetch(next + c, 0, 2);
    }
    for (; c < columns; ++c) to[c] = from[c];
  }
}

/// Panels of `depth` rows: element (r, c) goes to to[(c / kPanel) depth kPanel + r kPanel + c mod kPanel], and zeros
/// fill the last vector.
inline void pack_panels(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 depth) {
  for (i64 r = 0; r < rows; ++r) {
    const float* from = floats_at(m, row + r) + column;
    float* panel = to + r * kPanel;
    i64 c = 0;
    for (; c + kPanel <= columns; c += kPanel, panel += depth * kPanel)
      for (i64 v = 0; v < kPanel; v += V::kLanes) V::store(panel + v, V::load(from + c + v));
    for (; c < columns; c += V::kLanes, panel += V::kLanes) V::store(panel, load_some(from + c, columns - c, 0));
  }
}

/// Copies a square of which rows are only `columns` long into `to`, with zeros behind, and says where its rows are.
[[gnu::noinline]] inline void copy_square(const float* const* rows, i64 column, i64 columns, float* to,
                                          const float** at) {
  for (i64 r = 0; r < kSquare; ++r, to += kSquare) {
    at[r] = to;
    for (i64 c = 0; c < kSquare; c += V::kLanes) V::store(to + c, load_some(rows[r] + column + c, columns - c, 0));
  }
}

/// Turned round: to[stride c + r] = m[row + r][column + c], by whole squares: up to kSquare - 1 more rows and columns
/// of `to` are written, with something. The columns behind are asked for, which come next.
inline void pack_turned(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 stride) {
  const i64 readable = columns_of(m) - column;
  for (i64 r = 0; r < rows; r += kSquare, to += kSquare) {
    const float *from[kSquare], *copied[kSquare];
    float square[kSquare * kSquare];
    for (i64 i = 0; i < kSquare; ++i) {
      from[i] = floats_at(m, row + least(r + i, rows - 1)) + column;
      __builtin_prefetch(from[i] + columns);
    }
    for (i64 c = 0; c < columns; c += kSquare) {
      const bool whole = c + kSquare <= readable;
      if (!whole) copy_square(from, c, readable - c, square, copied);
      turn(whole ? from : copied, whole ? c : 0, to + stride * c, stride);
    }
  }
}

/// The panels of the transpose: element (r, c) of m goes where pack_panels puts (c, r).
inline void pack_turned_panels(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 depth) {
  for (i64 r = 0; r < rows; r += kPanel, to += depth * kPanel)
    pack_turned(m, row + r, least(kPanel, rows - r), column, columns, to, kPanel);
}

}  // namespace
}  // namespace terrace
