// layer_norm, the statistics of either norm, and gradients of norms and softmax: a row at a time.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

struct Stats {
  float mean, inverse;  // of the standard deviation, or of the root of the mean square
};
/// Two passes: the mean, then the squares around it.
inline Stats stats_of(const float* x, i64 k, bool centred, float eps) {
  const auto n = static_cast<float>(k);
  const float mean = centred ? sum_vectors(k, [&](i64 c) { return load_some(x + c, k - c, 0); }) / n : 0;
  const float squares = sum_vectors(k, [&](i64 c) {
    const F d = V::sub(load_some(x + c, k - c, mean), V::set(mean));
    return V::mul(d, d);
  });
  return {mean, 1.0f / __builtin_sqrtf(squares / n + eps)};
}

inline void norm_stats_body(const KernelArgs& a) {
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const Stats s =
        stats_of(floats_at(a.in[0], i), columns_of(a.in[0]), a.ints[0] != 0, static_cast<float>(a.floats[0]));
    float* to = floats_at(a.out[0], i);
    to[0] = s.mean;
    to[1] = s.inverse;
  }
}

/// T: of the result.
template <class T = float>
inline void layer_norm_body(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  const auto *w = reinterpret_cast<const float*>(a.in[1].data), *b = reinterpret_cast<const float*>(a.in[2].data);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    T* y = reinterpret_cast<T*>(row_at(a.out[0], i));
    const Stats s = stats_of(x, k, true, static_cast<float>(a.floats[0]));
    const F mean = V::set(s.mean), inverse = V::set(s.inverse);
    for (i64 c = 0; c < k; c += V::kLanes) {
      const F normed = V::mul(V::sub(load_some(x + c, k - c, 0), mean), inverse);
      store_some(y + c, k - c, V::fma(normed, load_some(w + c, k - c, 0), load_some(b + c, k - c, 0)));
    }
  }
}

inline void layer_norm_bf16_body(const KernelArgs& a) { layer_norm_body<Bf16>(a); }

/// Inputs x, weight, stats, dy (of type T). With h = (x - mean) inverse and g = dy w: dx = inverse (g - mean(g) - h
/// mean(g h)), without mean(g) for RMS norm; `more`, if given, is added.
template <class T = float>
inline void norm_grad_to(const KernelArgs& a, const TensorView* more) {
  const i64 k = columns_of(a.in[0]);
  const auto* w = reinterpret_cast<const float*>(a.in[1].data);
  const auto n = static_cast<float>(k);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float *x = floats_at(a.in[0], i), *stats = floats_at(a.in[2], i);
    const T* dy = reinterpret_cast<const T*>(row_at(a.in[3], i));
    float* dx = floats_at(a.out[0], i);
    const F mean = V::set(stats[0]), inverse = V::set(stats[1]);
    const auto g = [&](i64 c) { return V::mul(load_some(dy + c, k - c, 0), load_some(w + c, k - c, 0)); };
    const auto h = [&](i64 c) { return V::mul(V::sub(load_some(x + c, k - c, 0), mean), inverse); };
    const F g_mean = V::set(a.ints[0] != 0 ? sum_vectors(k, g) / n : 0);
    const F gh_mean = V::set(sum_vectors(k, [&](i64 c) { return V::mul(g(c), h(c)); }) / n);
    const float* plus = more != nullptr ? floats_at(*more, i) : nullptr;
    for (i64 c = 0; c < k; c += V::kLanes) {
      const F d = V::mul(inverse, V::sub(V::sub(g(c), g_mean), V::mul(h(c), gh_mean)));
      store_some(dx + c, k - c, plus != nullptr ? V::add(load_some(plus + c, k - c, 0), d) : d);
    }
  }
}
inline void norm_grad_body(const KernelArgs& a) { norm_grad_to(a, nullptr); }

inline void norm_grad_bf16_body(const KernelArgs& a) { norm_grad_to<Bf16>(a, nullptr); }

/// Inputs y, dy.
inline void softmax_grad_body(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float *y = floats_at(a.in[0], i), *dy = floats_at(a.in[1], i);
    float* dx = floats_at(a.out[0], i);
    const F dot =
        V::set(sum_vectors(k, [&](i64 c) { return V::mul(load_some(y + c, k - c, 0), load_some(dy + c, k - c, 0)); }));
    for (i64 c = 0; c < k; c += V::kLanes)
      store_some(dx + c, k - c, V::mul(load_some(y + c, k - c, 0), V::sub(load_some(dy + c, k - c, 0), dot)));
  }
}

}  // namespace
}  // namespace terrace
