// add, mul, silu, silu_mul, rope: each result by itself. A short end is done in a padded vector, so that an element has
// the same bits wherever a slice puts it.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline constexpr i64 kColumnUnit = 64;  // floats: four cache lines a cut

template <class Fn>
inline void unary(const KernelArgs& a, Fn f) {
  const Part part = part_of(rows_of(a.out[0]), columns_of(a.out[0]), kColumnUnit, a.worker, a.workers);
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    float* y = floats_at(a.out[0], i);
    i64 c = part.columns.begin;
    for (; c + V::kLanes <= part.columns.end; c += V::kLanes) V::store(y + c, f(V::load(x + c)));
    if (const i64 rest = part.columns.end - c; rest > 0) store_some(y + c, rest, f(load_some(x + c, rest, 0)));
  }
}

template <class Fn>
inline void binary(const KernelArgs& a, Fn f) {
  const Part part = part_of(rows_of(a.out[0]), columns_of(a.out[0]), kColumnUnit, a.worker, a.workers);
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    const float *x = floats_at(a.in[0], i), *z = floats_at(a.in[1], i);
    float* y = floats_at(a.out[0], i);
    i64 c = part.columns.begin;
    for (; c + V::kLanes <= part.columns.end; c += V::kLanes) V::store(y + c, f(V::load(x + c), V::load(z + c)));
    if (const i64 rest = part.columns.end - c; rest > 0)
      store_some(y + c, rest, f(load_some(x + c, rest, 0), load_some(z + c, rest, 0)));
  }
}

inline void add_body(const KernelArgs& a) {
  binary(a, [](F x, F y) { return V::add(x, y); });
}
inline void mul_body(const KernelArgs& a) {
  binary(a, [](F x, F y) { return V::mul(x, y); });
}
inline void silu_body(const KernelArgs& a) {
  unary(a, [](F x) { return silu_of(x); });
}
inline void silu_mul_body(const KernelArgs& a) {
  binary(a, [](F x, F y) { return V::mul(silu_of(x), y); });
}

inline void rope_body(const KernelArgs& a) {
  const i64 head = a.ints[0], d = columns_of(a.in[1]), heads = columns_of(a.in[0]) / head;
  const Range rows = share(rows_of(a.out[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* angles = floats_at(a.in[1], i);
    for (i64 h = 0; h < heads; ++h) {
      const float* x = floats_at(a.in[0], i) + h * head;
      float* y = floats_at(a.out[0], i) + h * head;
      i64 e = 0;
      for (; e + V::kLanes <= d; e += V::kLanes) V::store(y + e, V::rotate(V::load(x + e), V::load(angles + e)));
      if (e < d) store_some(y + e, d - e, V::rotate(load_some(x + e, d - e, 0), load_some(angles + e, d - e, 0)));
      for (e = d; e < head; ++e) y[e] = x[e];
    }
  }
}

}  // namespace
}  // namespace terrace
