// A row added to all rows, and sums over rows: each worker has columns of its own.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/body/runs.h"

namespace terrace {
namespace {

inline constexpr i64 kSummedRows = 64;    // added one after the other; then the sums of such runs are
inline constexpr i64 kSummedWidth = 512;  // columns at a time: 4 KiB of stack

inline void add_row_body(const KernelArgs& a) {
  const auto* b = reinterpret_cast<const float*>(a.in[1].data);
  const Part part = part_of(rows_of(a.out[0]), columns_of(a.out[0]), kRunUnit, a.worker, a.workers);
  const i64 end = part.columns.end;
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    float* y = floats_at(a.out[0], i);
    i64 c = part.columns.begin;
    for (; c + V::kLanes <= end; c += V::kLanes) V::store(y + c, V::add(V::load(x + c), V::load(b + c)));
    if (c < end) store_some(y + c, end - c, V::add(load_some(x + c, end - c, 0), load_some(b + c, end - c, 0)));
  }
}

/// sum[c] += row(first)(c) + row(first + 1)(c) + ..., `count` rows in order, for the `width` columns behind `begin`.
template <int count, class Row>
inline void add_rows(float* sum, i64 begin, i64 width, i64 first, Row row) {
  decltype(row(0)) rows[count];
  for (int r = 0; r < count; ++r) rows[r] = row(first + r);
  for (i64 c = 0; c < width; c += V::kLanes) {
    F s = V::load(sum + c);
    for (int r = 0; r < count; ++r) s = V::add(s, rows[r](begin + c, width - c));
    V::store(sum + c, s);
  }
}

/// to[c] = the sum of row(i)(c, columns left) over rows i. Four rows at a time, so that memory is read in long lines.
template <class Row>
inline void column_sums(const KernelArgs& a, i64 rows, i64 k, float* to, Row row) {
  const Range mine = share(k, 16, a.worker, a.workers);
  float total[kSummedWidth], sum[kSummedWidth];
  for (i64 begin = mine.begin; begin < mine.end; begin += kSummedWidth) {
    const i64 width = mine.end - begin < kSummedWidth ? mine.end - begin : kSummedWidth;
    for (i64 c = 0; c < width; c += V::kLanes) V::store(total + c, V::set(0));
    for (i64 first = 0; first < rows; first += kSummedRows) {
      const i64 end = rows - first < kSummedRows ? rows : first + kSummedRows;
      for (i64 c = 0; c < width; c += V::kLanes) V::store(sum + c, V::set(0));
      i64 i = first;
      for (; i + 4 <= end; i += 4) add_rows<4>(sum, begin, width, i, row);
      for (; i < end; ++i) add_rows<1>(sum, begin, width, i, row);
      for (i64 c = 0; c < width; c += V::kLanes) V::store(total + c, V::add(V::load(total + c), V::load(sum + c)));
    }
    for (i64 c = 0; c < width; c += V::kLanes) store_some(to + begin + c, width - c, V::load(total + c));
  }
}

template <class T>
struct RowOf {
  const T* x = nullptr;
  F operator()(i64 c, i64 left) const { return load_some(x + c, left, 0); }
};
template <class T = float>
inline void sum_rows_body(const KernelArgs& a) {
  column_sums(a, rows_of(a.in[0]), columns_of(a.in[0]), reinterpret_cast<float*>(a.out[0].data),
              [&](i64 i) { return RowOf<T>{reinterpret_cast<const T*>(row_at(a.in[0], i))}; });
}
inline void sum_rows_bf16_body(const KernelArgs& a) { sum_rows_body<Bf16>(a); }

template <class T>
struct NormedRow {
  const float* x = nullptr;
  const T* dy = nullptr;
  float mean = 0, inverse = 0;
  F operator()(i64 c, i64 left) const {
    const F centred = V::sub(load_some(x + c, left, 0), V::set(mean));
    return V::mul(load_some(dy + c, left, 0), V::mul(centred, V::set(inverse)));
  }
};
/// Inputs x, stats, dy (of type T).
template <class T = float>
inline void norm_grad_weight_body(const KernelArgs& a) {
  column_sums(a, rows_of(a.in[0]), columns_of(a.in[0]), reinterpret_cast<float*>(a.out[0].data), [&](i64 i) {
    const float* stats = floats_at(a.in[1], i);
    return NormedRow<T>{floats_at(a.in[0], i), reinterpret_cast<const T*>(row_at(a.in[2], i)), stats[0], stats[1]};
  });
}
inline void norm_grad_weight_bf16_body(const KernelArgs& a) { norm_grad_weight_body<Bf16>(a); }

}  // namespace
}  // namespace terrace
