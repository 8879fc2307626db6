// cross_entropy and its gradient: a row at a time. A target that is no column gives a NaN as loss, and is never read
// at.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline i64 target_of(const TensorView& targets, i64 i) {
  i32 id;
  __builtin_memcpy(&id, entry_at(targets, i), 4);
  return id;
}

/// Inputs logits, targets; outputs loss, lse.
inline void cross_entropy_body(const KernelArgs& a) {
  const float infinity = __builtin_inff();
  const i64 k = columns_of(a.in[0]);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    F m[4] = {V::set(-infinity), V::set(-infinity), V::set(-infinity), V::set(-infinity)};
    i64 c = 0;
    for (; c + 4 * V::kLanes <= k; c += 4 * V::kLanes)
      for (int j = 0; j < 4; ++j) m[j] = V::max(V::load(x + c + j * V::kLanes), m[j]);
    for (; c < k; c += V::kLanes) m[0] = V::max(load_some(x + c, k - c, -infinity), m[0]);
    const float top = V::top(V::max(V::max(m[0], m[1]), V::max(m[2], m[3])));
    const F highest = V::set(top);
    const float sum =
        sum_vectors(k, [&](i64 e) { return exp_of(V::sub(load_some(x + e, k - e, -infinity), highest)); });
    const double lse = static_cast<double>(top) + __builtin_log(static_cast<double>(sum));
    const i64 t = target_of(a.in[1], i);
    const double loss = t >= 0 && t < k ? lse - static_cast<double>(x[t]) : __builtin_nan("");
    *reinterpret_cast<float*>(entry_at(a.out[0], i)) = static_cast<float>(loss);
    *reinterpret_cast<float*>(entry_at(a.out[1], i)) = static_cast<float>(lse);
  }
}

/// Inputs logits, targets, lse, dloss.
inline void cross_entropy_grad_body(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    float* y = floats_at(a.out[0], i);
    const F lse = V::set(*reinterpret_cast<const float*>(entry_at(a.in[2], i)));
    const float dloss = *reinterpret_cast<const float*>(entry_at(a.in[3], i));
    const F by = V::set(dloss);
    const i64 t = target_of(a.in[1], i);
    float at_target[V::kLanes];  // before y is written: it may be the logits' own memory
    V::store(at_target, exp_of(V::sub(V::set(t >= 0 && t < k ? x[t] : 0), lse)));
    i64 c = 0;
    for (; c + V::kLanes <= k; c += V::kLanes) V::store(y + c, V::mul(exp_of(V::sub(V::load(x + c), lse)), by));
    if (c < k) store_some(y + c, k - c, V::mul(exp_of(V::sub(load_some(x + c, k - c, 0), lse)), by));
    if (t >= 0 && t < k) y[t] = (at_target[0] - 1) * dloss;
  }
}

}  // namespace
}  // namespace terrace
