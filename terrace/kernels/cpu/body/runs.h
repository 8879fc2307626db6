// Tensors of one shape as runs of elements that lie packed in each of them.
#pragma once

#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline constexpr i64 kRunUnit = 64;  // elements: four cache lines of floats a cut

/// Calls f(pointers, first, count) for the runs of this worker: pointers to `count` elements of each view, element
/// `first` of the tensor (row by row) and those behind it. What lies packed is one run, so that short rows cost
/// nothing.
template <int N, class Fn>
inline void each_run(const KernelArgs& a, const TensorView* const (&views)[N], Fn f) {
  bool packed = true;
  i64 size[N];
  for (int j = 0; j < N; ++j) {
    packed = packed && is_packed(*views[j]);
    size[j] = views[j]->dtype == DType::bf16 ? 2 : 4;
  }
  const i64 all = rows_of(*views[0]), k = columns_of(*views[0]);
  const i64 rows = packed ? 1 : all, columns = packed ? all * k : k;
  const Part part = part_of(rows, columns, kRunUnit, a.worker, a.workers);
  const i64 count = part.columns.end - part.columns.begin;
  if (count <= 0) return;
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    std::byte* at[N];
    for (int j = 0; j < N; ++j) at[j] = (packed ? views[j]->data : row_at(*views[j], i)) + part.columns.begin * size[j];
    f(at, i * columns + part.columns.begin, count);
  }
}

}  // namespace
}  // namespace terrace
