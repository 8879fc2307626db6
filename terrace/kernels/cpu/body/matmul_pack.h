// How matmul packs its operands into floats: rows as they lie or turned round, by squares. Include after a turn.h.
// A source S says what lies in memory (S::T) and which floats it becomes.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline constexpr i64 kPanel = 2 * V::kLanes;  ///< columns of b that lie together: [k][kPanel]
/// Floats between packed rows of a. No multiple of a page, so that the rows of a tile do not compete for cache sets.
inline constexpr i64 kRowStride = kMatmulDepth + 16;

inline i64 least(i64 a, i64 b) { return a < b ? a : b; }

struct Floats {
  using T = float;
  static constexpr bool kAsItLies = true;
  static F of(F x) { return x; }
};
struct RoundedFloats {  // to bf16
  using T = float;
  static constexpr bool kAsItLies = false;
  static F of(F x) { return V::round_bf16(x); }
};
struct Halves {
  using T = Bf16;
  static constexpr bool kAsItLies = false;
  static F of(F x) { return x; }
};

template <class T>
inline const T* numbers_at(const TensorView& v, i64 row) {
  return reinterpret_cast<const T*>(row_at(v, row));
}

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

/// to[kRowStride r + c] = m[row + r][column + c], zeros up to a whole vector. The next tile's rows are asked for:
/// whatever lies there.
template <class S>
inline void pack_rows(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to) {
  for (i64 r = 0; r < rows; ++r, to += kRowStride) {
    const auto *from = numbers_at<typename S::T>(m, row + r) + column,
               *next = numbers_at<typename S::T>(m, row + rows + r) + column;
    i64 c = 0;
    for (; c + V::kLanes <= columns; c += V::kLanes) {
      V::store(to + c, S::of(load_at(from + c)));
      __builtin_prefetch(next + c, 0, 2);
    }
    if (c < columns) V::store(to + c, S::of(load_some(from + c, columns - c, 0)));
  }
}

/// Panels of `depth` rows: element (r, c) goes to to[(c / kPanel) depth kPanel + r kPanel + c mod kPanel], and zeros
/// fill the last vector.
template <class S>
inline void pack_panels(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 depth) {
  for (i64 r = 0; r < rows; ++r) {
    const auto* from = numbers_at<typename S::T>(m, row + r) + column;
    float* panel = to + r * kPanel;
    i64 c = 0;
    for (; c + kPanel <= columns; c += kPanel, panel += depth * kPanel)
      for (i64 v = 0; v < kPanel; v += V::kLanes) V::store(panel + v, S::of(load_at(from + c + v)));
    for (; c < columns; c += V::kLanes, panel += V::kLanes) V::store(panel, S::of(load_some(from + c, columns - c, 0)));
  }
}

/// Copies a square of which rows are only `columns` long into `to`, with zeros behind, and says where its rows are.
template <class S>
[[gnu::noinline]] inline void copy_square(const typename S::T* const* rows, i64 column, i64 columns, float* to,
                                          const float** at) {
  for (i64 r = 0; r < kSquare; ++r, to += kSquare) {
    at[r] = to;
    for (i64 c = 0; c < kSquare; c += V::kLanes)
      V::store(to + c, S::of(load_some(rows[r] + column + c, columns - c, 0)));
  }
}

/// Turned round: to[stride c + r] = m[row + r][column + c], by whole squares: up to kSquare - 1 more rows and columns
/// of `to` are written, with something. The columns behind are asked for, which come next.
template <class S>
inline void pack_turned(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 stride) {
  const i64 readable = columns_of(m) - column;
  for (i64 r = 0; r < rows; r += kSquare, to += kSquare) {
    const typename S::T* from[kSquare];
    const float* copied[kSquare];
    float square[kSquare * kSquare];
    for (i64 i = 0; i < kSquare; ++i) {
      from[i] = numbers_at<typename S::T>(m, row + least(r + i, rows - 1)) + column;
      __builtin_prefetch(from[i] + columns);
    }
    for (i64 c = 0; c < columns; c += kSquare) {
      if constexpr (S::kAsItLies)
        if (c + kSquare <= readable) {
          turn(from, c, to + stride * c, stride);
          continue;
        }
      copy_square<S>(from, c, readable - c, square, copied);
      turn(copied, 0, to + stride * c, stride);
    }
  }
}

/// The panels of the transpose: element (r, c) of m goes where pack_panels puts (c, r).
template <class S>
inline void pack_turned_panels(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 depth) {
  for (i64 r = 0; r < rows; r += kPanel, to += depth * kPanel)
    pack_turned<S>(m, row + r, least(kPanel, rows - r), column, columns, to, kPanel);
}

/// How a product packs its operands: `a` a tile of rows of op(a), `b` panels of columns of op(b), both `depth` deep
/// from k0 on. Chosen by the operands' formats.
struct Packing {
  void (*a)(const TensorView& m, i64 row, i64 rows, i64 k0, i64 depth, float* to);
  void (*b)(const TensorView& m, i64 column, i64 columns, i64 k0, i64 depth, float* to, i64 padded);
};

/// The packers of S, turned or not.
template <class S>
inline void pack_a(bool turned, Packing& to) {
  to.a = pack_rows<S>;
  if (turned)
    to.a = [](const TensorView& m, i64 row, i64 rows, i64 k0, i64 depth, float* at) {
      pack_turned<S>(m, k0, depth, row, rows, at, kRowStride);
    };
}
template <class S>
inline void pack_b(bool turned, Packing& to) {
  to.b = pack_turned_panels<S>;
  if (!turned)
    to.b = [](const TensorView& m, i64 column, i64 columns, i64 k0, i64 depth, float* at, i64 padded) {
      pack_panels<S>(m, k0, depth, column, columns, at, padded);
    };
}

/// A float in each slot of the packed operands.
struct FloatSlots {
  using Arithmetic = FloatSlots;      ///< what the tiles need to know: others differ in packing only
  static constexpr i64 kEntries = 1;  ///< of k in a slot
  static F multiply(F a, F b, F sum) { return V::fma(a, b, sum); }
  static Packing packing(const TensorView&, bool turned_a, const TensorView&, bool turned_b) {
    Packing p{};
    pack_a<Floats>(turned_a, p);
    pack_b<Floats>(turned_b, p);
    return p;
  }
};
/// The same, rounded to bf16.
struct RoundedSlots : FloatSlots {
  static Packing packing(const TensorView& a, bool turned_a, const TensorView& b, bool turned_b) {
    Packing p{};
    a.dtype == DType::bf16 ? pack_a<Halves>(turned_a, p) : pack_a<RoundedFloats>(turned_a, p);
    b.dtype == DType::bf16 ? pack_b<Halves>(turned_b, p) : pack_b<RoundedFloats>(turned_b, p);
    return p;
  }
};

}  // namespace
}  // namespace terrace
