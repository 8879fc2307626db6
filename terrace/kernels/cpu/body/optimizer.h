// mean, square_sums, and the optimizers, which go once over their states.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/body/runs.h"

namespace terrace {
namespace {

inline constexpr i64 kSummedRun = 16384;  // elements that one float sum takes

/// Rows are cut to runs, whose sums are added in double in order: the same for packed rows and for others.
inline void mean_body(const KernelArgs& a) {
  if (a.worker != 0) return;
  const i64 n = rows_of(a.in[0]), k = columns_of(a.in[0]);
  double sum = 0;
  for (i64 i = 0; i < n; ++i)
    for (i64 begin = 0; begin < k; begin += kSummedRun) {
      const float* x = floats_at(a.in[0], i) + begin;
      const i64 count = k - begin < kSummedRun ? k - begin : kSummedRun;
      sum += static_cast<double>(sum_vectors(count, [&](i64 c) { return load_some(x + c, count - c, 0); }));
    }
  *reinterpret_cast<float*>(a.out[0].data) = static_cast<float>(sum / static_cast<double>(n * k));
}

inline void square_sums_body(const KernelArgs& a) {
  const i64 n = rows_of(a.in[0]) * columns_of(a.in[0]);
  const bool packed = is_packed(a.in[0]);
  const auto* x = reinterpret_cast<const float*>(a.in[0].data);
  auto* to = reinterpret_cast<float*>(a.out[0].data);
  const auto element = [&](i64 i) { return *reinterpret_cast<const float*>(entry_at(a.in[0], i)); };
  const Range runs = share((n + kSummedRun - 1) / kSummedRun, 1, a.worker, a.workers);
  for (i64 r = runs.begin; r < runs.end; ++r) {
    const i64 begin = r * kSummedRun, count = n - begin < kSummedRun ? n - begin : kSummedRun;
    to[r] = sum_vectors(count, [&](i64 c) {
      F v;
      if (packed) {
        v = load_some(x + begin + c, count - c, 0);
      } else {  // a run goes over the ends of rows
        float t[V::kLanes];
        for (int i = 0; i < V::kLanes; ++i) t[i] = c + i < count ? element(begin + c + i) : 0;
        v = V::load(t);
      }
      return V::mul(v, v);
    });
  }
}

inline F constant(double x) { return V::set(static_cast<float>(x)); }

/// Inputs w, m, v, gradient, rate.
inline void adamw_body(const KernelArgs& a) {
  const auto* rate = reinterpret_cast<const float*>(a.in[4].data);
  const F b1 = constant(a.floats[0]), rest1 = constant(1 - a.floats[0]), b2 = constant(a.floats[1]),
          rest2 = constant(1 - a.floats[1]), eps = constant(a.floats[2]), decay = constant(a.floats[3]);
  const F lr = V::set(rate[0]), c1 = V::set(rate[1]), c2 = V::set(rate[2]), clip = V::set(rate[3]);
  each_run<7>(a, {&a.in[0], &a.in[1], &a.in[2], &a.in[3], &a.out[0], &a.out[1], &a.out[2]},
              [&](std::byte* const* at, i64, i64 n) {
                const auto from = [&](int j, i64 c) {
                  return load_some(reinterpret_cast<const float*>(at[j]) + c, n - c, 0);
                };
                const auto to = [&](int j, i64 c, F x) { store_some(reinterpret_cast<float*>(at[j]) + c, n - c, x); };
                for (i64 c = 0; c < n; c += V::kLanes) {
                  const F w = from(0, c), g = V::mul(from(3, c), clip);
                  const F m = V::fma(rest1, g, V::mul(b1, from(1, c)));
                  const F v = V::fma(V::mul(rest2, g), g, V::mul(b2, from(2, c)));
                  const F step = V::div(V::mul(m, c1), V::add(V::sqrt(V::mul(v, c2)), eps));
                  to(4, c, V::sub(w, V::mul(lr, V::fma(decay, w, step))));
                  to(5, c, m);
                  to(6, c, v);
                }
              });
}

/// Inputs w, m, gradient, rate.
inline void sgd_body(const KernelArgs& a) {
  const auto* rate = reinterpret_cast<const float*>(a.in[3].data);
  const F mu = constant(a.floats[0]), decay = constant(a.floats[1]), lr = V::set(rate[0]), clip = V::set(rate[3]);
  each_run<5>(a, {&a.in[0], &a.in[1], &a.in[2], &a.out[0], &a.out[1]}, [&](std::byte* const* at, i64, i64 n) {
    const auto from = [&](int j, i64 c) { return load_some(reinterpret_cast<const float*>(at[j]) + c, n - c, 0); };
    const auto to = [&](int j, i64 c, F x) { store_some(reinterpret_cast<float*>(at[j]) + c, n - c, x); };
    for (i64 c = 0; c < n; c += V::kLanes) {
      const F w = from(0, c), g = V::mul(from(2, c), clip);
      const F m = V::fma(mu, from(1, c), V::fma(decay, w, g));
      to(3, c, V::sub(w, V::mul(lr, m)));
      to(4, c, m);
    }
  });
}

}  // namespace
}  // namespace terrace
