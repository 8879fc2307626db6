// The exponential, once for each instruction set. Include after a vec.h.
#pragma once

#include "terrace/kernels/half.h"

namespace terrace {
namespace {

/// e^x within 2 units of the last place, over all floats: subnormal results, 0 and infinity included; e^0 is exactly 1.
/// The polynomial and the split of ln 2 are Cephes' expf (Moshier).
inline F exp_of(F x) {
  x = V::min(V::set(89.0f), V::max(V::set(-104.0f), x));  // this order keeps a NaN
  const F n = V::rint(V::mul(x, V::set(1.44269504088896341f)));
  F r = V::fma(n, V::set(-0.693359375f), x);
  r = V::fma(n, V::set(2.12194440e-4f), r);
  F y = V::set(1.9875691500e-4f);
  y = V::fma(y, r, V::set(1.3981999507e-3f));
  y = V::fma(y, r, V::set(8.3334519073e-3f));
  y = V::fma(y, r, V::set(4.1665795894e-2f));
  y = V::fma(y, r, V::set(1.6666665459e-1f));
  y = V::fma(y, r, V::set(5.0000001201e-1f));
  y = V::fma(y, V::mul(r, r), r);
  return V::scale(V::add(y, V::set(1.0f)), n);
}

inline F silu_of(F x) {
  const F one = V::set(1.0f);
  return V::div(x, V::add(one, exp_of(V::sub(V::set(0.0f), x))));
}

/// Numbers in memory as floats.
inline F load_at(const float* p) { return V::load(p); }
inline F load_at(const Bf16* p) { return V::load_bf16(p); }
inline void store_at(float* p, F x) { V::store(p, x); }
inline void store_at(Bf16* p, F x) { V::store_bf16(p, x); }

/// A vector of the `count` floats at p, with `other` behind them.
inline F load_some(const float* p, i64 count, float other) {
  if (count >= V::kLanes) return V::load(p);
  float t[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) t[i] = i < count ? p[i] : other;
  return V::load(t);
}
inline void store_some(float* p, i64 count, F x) {
  if (count >= V::kLanes) return V::store(p, x);
  float t[V::kLanes];
  V::store(t, x);
  for (i64 i = 0; i < count; ++i) p[i] = t[i];
}

inline F load_some(const Bf16* p, i64 count, float other) {
  if (count >= V::kLanes) return V::load_bf16(p);
  float t[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) t[i] = i < count ? bf16_to_float(p[i].bits) : other;
  return V::load(t);
}
inline void store_some(Bf16* p, i64 count, F x) {
  if (count >= V::kLanes) return V::store_bf16(p, x);
  Bf16 t[V::kLanes];
  V::store_bf16(t, x);
  for (i64 i = 0; i < count; ++i) p[i] = t[i];
}

/// Sum of f(c) over vectors c = 0, L, 2 L, ... < n in the order that kernels.h states.
template <class Fn>
inline float sum_vectors(i64 n, Fn f) {
  F s[4] = {V::set(0), V::set(0), V::set(0), V::set(0)};
  i64 c = 0;
  for (; c + 4 * V::kLanes <= n; c += 4 * V::kLanes)
    for (int j = 0; j < 4; ++j) s[j] = V::add(s[j], f(c + j * V::kLanes));
  for (int j = 0; c < n; c += V::kLanes, ++j) s[j] = V::add(s[j], f(c));
  return V::sum(V::add(V::add(s[0], s[1]), V::add(s[2], s[3])));
}

}  // namespace
}  // namespace terrace
