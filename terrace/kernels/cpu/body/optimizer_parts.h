// AdamW in parts, a pass over memory each.
#pragma once

#include "terrace/kernels/cpu/body/elementwise.h"
#include "terrace/kernels/cpu/body/optimizer.h"

namespace terrace {
namespace {

inline const float* rate_of(const TensorView& v) { return reinterpret_cast<const float*>(v.data); }

inline void rescale_body(const KernelArgs& a) {
  const F by = constant(a.floats[0] + a.floats[1] * static_cast<double>(rate_of(a.in[1])[0]));
  unary(a, [by](F x) { return V::mul(by, x); });
}
inline void blend_body(const KernelArgs& a) {
  const F by = constant(1 - a.floats[0]), clip = V::set(rate_of(a.in[2])[3]);
  binary(a, [by, clip](F m, F g) { return V::fma(by, V::sub(V::mul(g, clip), m), m); });
}
inline void add_square_body(const KernelArgs& a) {
  const F by = constant(1 - a.floats[0]), clip = V::set(rate_of(a.in[2])[3]);
  binary(a, [by, clip](F v, F g) {
    g = V::mul(g, clip);
    return V::fma(V::mul(by, g), g, v);
  });
}
inline void root_body(const KernelArgs& a) {
  const F c2 = V::set(rate_of(a.in[1])[2]), eps = constant(a.floats[0]);
  unary(a, [c2, eps](F v) { return V::add(V::sqrt(V::mul(v, c2)), eps); });
}
/// Inputs w, m, d, rate.
inline void descend_body(const KernelArgs& a) {
  const float* rate = rate_of(a.in[3]);
  const F by = V::set(rate[0] * rate[1]);
  each_run<4>(a, {&a.in[0], &a.in[1], &a.in[2], &a.out[0]}, [&](std::byte* const* at, i64, i64 n) {
    const auto from = [&](int j, i64 c) { return load_some(reinterpret_cast<const float*>(at[j]) + c, n - c, 0); };
    for (i64 c = 0; c < n; c += V::kLanes) {
      const F step = V::mul(by, V::div(from(1, c), from(2, c)));
      store_some(reinterpret_cast<float*>(at[3]) + c, n - c, V::sub(from(0, c), step));
    }
  });
}

}  // namespace
}  // namespace terrace
