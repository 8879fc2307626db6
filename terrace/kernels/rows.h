// Rows of views, and how workers share them. `static inline`: see half.h.
#pragma once

#include "terrace/core/tensor.h"

namespace terrace {

/// Rows of a view: the product of all extents but the last.
static inline i64 rows_of(const TensorView& v) {
  i64 n = 1;
  for (int a = 0; a + 1 < v.rank; ++a) n *= v.dim[a];
  return n;
}
static inline i64 columns_of(const TensorView& v) { return v.rank == 0 ? 1 : v.dim[v.rank - 1]; }

/// Where row `i` begins.
static inline std::byte* row_at(const TensorView& v, i64 i) {
  if (v.rank == 2) return v.data + i * v.stride[0];
  std::byte* p = v.data;
  for (int a = v.rank - 2; a >= 0; --a) {
    p += i % v.dim[a] * v.stride[a];
    i /= v.dim[a];
  }
  return p;
}
static inline float* floats_at(const TensorView& v, i64 i) { return reinterpret_cast<float*>(row_at(v, i)); }

/// Bytes of one row: row_bytes of tensor.h without sharing its code.
static inline i64 bytes_of_row(const TensorView& v) {
  const i64 k = columns_of(v);
  switch (v.layout) {
    case Layout::dense:
      return k * (v.dtype == DType::f64 ? 8 : v.dtype == DType::f16 || v.dtype == DType::bf16 ? 2 : 4);
    case Layout::q8_0: return k / 32 * 34;
    case Layout::q4_0: return k / 32 * 18;
    case Layout::q4_1: return k / 32 * 20;
    case Layout::q8a: return k + k / 4;
  }
  return 0;
}

/// Whether the elements of a dense view lie one after the other, rows included.
static inline bool is_packed(const TensorView& v) {
  i64 bytes = bytes_of_row(v);
  for (int a = v.rank - 2; a >= 0; --a) {
    if (v.dim[a] != 1 && v.stride[a] != bytes) return false;
    bytes *= v.dim[a];
  }
  return true;
}
/// Where element `i`, counted row by row, of a dense view with 4-byte elements lies.
static inline std::byte* entry_at(const TensorView& v, i64 i) {
  const i64 k = columns_of(v);
  return row_at(v, i / k) + i % k * 4;
}

struct Range {
  i64 begin, end;
};
/// The run of [0, count) that this worker has, cut at multiples of `unit`.
static inline Range share(i64 count, i64 unit, int worker, int workers) {
  const i64 units = (count + unit - 1) / unit;
  const i64 b = units * worker / workers * unit, e = units * (worker + 1) / workers * unit;
  return {b < count ? b : count, e < count ? e : count};
}

/// What one worker has of a matrix: rows, or columns in multiples of `unit` where there are fewer rows than workers.
struct Part {
  Range rows, columns;
};
static inline Part part_of(i64 rows, i64 columns, i64 unit, int worker, int workers) {
  if (rows >= workers) return {share(rows, 1, worker, workers), {0, columns}};
  return {{0, rows}, share(columns, unit, worker, workers)};
}

}  // namespace terrace
