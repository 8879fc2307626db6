// add, mul, silu, silu_mul, rope: each result by itself, in floats, rounded once where it is bf16. A short end is done
// in a padded vector, so that an element has the same bits wherever a slice puts it.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/body/runs.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

/// T: float or Bf16, in and out.
template <class T = float, class Fn>
inline void unary(const KernelArgs& a, Fn f) {
  each_run<2>(a, {&a.in[0], &a.out[0]}, [&](std::byte* const* at, i64, i64 n) {
    const auto* x = reinterpret_cast<const T*>(at[0]);
    auto* y = reinterpret_cast<T*>(at[1]);
    i64 c = 0;
    for (; c + V::kLanes <= n; c += V::kLanes) store_at(y + c, f(load_at(x + c)));
    if (c < n) store_some(y + c, n - c, f(load_some(x + c, n - c, 0)));
  });
}

template <class T = float, class Fn>
inline void binary(const KernelArgs& a, Fn f) {
  each_run<3>(a, {&a.in[0], &a.in[1], &a.out[0]}, [&](std::byte* const* at, i64, i64 n) {
    const auto *x = reinterpret_cast<const T*>(at[0]), *z = reinterpret_cast<const T*>(at[1]);
    auto* y = reinterpret_cast<T*>(at[2]);
    i64 c = 0;
    for (; c + V::kLanes <= n; c += V::kLanes) store_at(y + c, f(load_at(x + c), load_at(z + c)));
    if (c < n) store_some(y + c, n - c, f(load_some(x + c, n - c, 0), load_some(z + c, n - c, 0)));
  });
}

template <class T = float>
inline void add_body(const KernelArgs& a) {
  binary<T>(a, [](F x, F y) { return V::add(x, y); });
}
template <class T = float>
inline void mul_body(const KernelArgs& a) {
  binary<T>(a, [](F x, F y) { return V::mul(x, y); });
}
template <class T = float>
inline void silu_body(const KernelArgs& a) {
  unary<T>(a, [](F x) { return silu_of(x); });
}
template <class T = float>
inline void silu_mul_body(const KernelArgs& a) {
  binary<T>(a, [](F x, F y) { return V::mul(silu_of(x), y); });
}

inline void rope_body(const KernelArgs& a) {
  const i64 head = a.ints[0], d = columns_of(a.in[1]), heads = columns_of(a.in[0]) / head;
  const i64 positions = rows_of(a.in[1]);  // x may be a batch of them
  float turn[V::kLanes];                   // (1, 1), or (1, -1) for the inverse rotation
  for (int i = 0; i < V::kLanes; ++i) turn[i] = i % 2 == 1 && a.ints[1] != 0 ? -1.0f : 1.0f;
  const F way = V::load(turn);
  const Range rows = share(rows_of(a.out[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* angles = floats_at(a.in[1], i % positions);
    for (i64 h = 0; h < heads; ++h) {
      const float* x = floats_at(a.in[0], i) + h * head;
      float* y = floats_at(a.out[0], i) + h * head;
      i64 e = 0;
      for (; e + V::kLanes <= d; e += V::kLanes)
        V::store(y + e, V::rotate(V::load(x + e), V::mul(V::load(angles + e), way)));
      if (e < d)
        store_some(y + e, d - e, V::rotate(load_some(x + e, d - e, 0), V::mul(load_some(angles + e, d - e, 0), way)));
      for (e = d; e < head; ++e) y[e] = x[e];
    }
  }
}

}  // namespace
}  // namespace terrace
