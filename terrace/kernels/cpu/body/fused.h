// Ops that stand for several: each row goes through all of them while it is in the cache, with the bits that it would
// have had.
#pragma once

#include "terrace/kernels/cpu/body/activation.h"
#include "terrace/kernels/cpu/body/norm_grad.h"

namespace terrace {
namespace {

/// Inputs a, b, weight and, where it is centred, bias; outputs a + b, its norm, its statistics.
template <bool centred>
inline void add_norm(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  const auto *w = reinterpret_cast<const float*>(a.in[2].data),
             *b = centred ? reinterpret_cast<const float*>(a.in[3].data) : nullptr;
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float *x = floats_at(a.in[0], i), *more = floats_at(a.in[1], i);
    float *sum = floats_at(a.out[0], i), *y = floats_at(a.out[1], i), *stats = floats_at(a.out[2], i);
    for (i64 c = 0; c < k; c += V::kLanes)
      store_some(sum + c, k - c, V::add(load_some(x + c, k - c, 0), load_some(more + c, k - c, 0)));
    const Stats s = stats_of(sum, k, centred, static_cast<float>(a.floats[0]));
    stats[0] = s.mean;
    stats[1] = s.inverse;
    const F mean = V::set(s.mean), inverse = V::set(s.inverse);
    for (i64 c = 0; c < k; c += V::kLanes) {
      const F v = load_some(sum + c, k - c, 0), weight = load_some(w + c, k - c, 0);
      const F normed = V::mul(centred ? V::sub(v, mean) : v, inverse);
      store_some(y + c, k - c, centred ? V::fma(normed, weight, load_some(b + c, k - c, 0)) : V::mul(normed, weight));
    }
  }
}
inline void add_layer_norm_body(const KernelArgs& a) { add_norm<true>(a); }
inline void add_rms_norm_body(const KernelArgs& a) { add_norm<false>(a); }

inline void norm_grad_add_body(const KernelArgs& a) { norm_grad_to(a, &a.in[4]); }

/// to = f(c, columns left) in each row, f made by row(i).
template <class Row>
inline void each_row(const KernelArgs& a, Row row) {
  const Part part = part_of(rows_of(a.out[0]), columns_of(a.out[0]), 64, a.worker, a.workers);
  const i64 end = part.columns.end;
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    float* to = floats_at(a.out[0], i);
    const auto f = row(i);
    for (i64 c = part.columns.begin; c < end; c += V::kLanes) store_some(to + c, end - c, f(c, end - c));
  }
}
template <class Fn>
inline void with_bias(const KernelArgs& a, Fn f) {
  const auto* b = reinterpret_cast<const float*>(a.in[1].data);
  each_row(a, [&](i64 i) {
    return [x = floats_at(a.in[0], i), b, f](i64 c, i64 left) {
      return f(V::add(load_some(x + c, left, 0), load_some(b + c, left, 0)));
    };
  });
}
/// Inputs x, bias.
inline void bias_activation_body(const KernelArgs& a) {
  if (a.ints[0] == 0) return with_bias(a, [](F x) { return V::max(V::set(0), x); });
  if (a.ints[0] == 1) return with_bias(a, [](F x) { return gelu_of(x); });
  with_bias(a, [](F x) { return silu_of(x); });
}

template <class Fn>
inline void with_bias_back(const KernelArgs& a, Fn f) {
  const auto* b = reinterpret_cast<const float*>(a.in[1].data);
  each_row(a, [&](i64 i) {
    return [x = floats_at(a.in[0], i), dy = floats_at(a.in[2], i), b, f](i64 c, i64 left) {
      return f(V::add(load_some(x + c, left, 0), load_some(b + c, left, 0)), load_some(dy + c, left, 0));
    };
  });
}
/// Inputs x, bias, dy.
inline void bias_activation_grad_body(const KernelArgs& a) {
  if (a.ints[0] == 0) return with_bias_back(a, [](F x, F dy) { return V::where_positive(x, dy); });
  if (a.ints[0] == 1) return with_bias_back(a, [](F x, F dy) { return V::mul(dy, gelu_slope(x)); });
  with_bias_back(a, [](F x, F dy) { return V::mul(dy, silu_slope(x)); });
}

}  // namespace
}  // namespace terrace
