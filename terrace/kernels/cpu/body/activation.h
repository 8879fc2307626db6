// Element-wise ops of training: arithmetic, activations and their gradients, rounding to bf16 and back.
#pragma once

#include "terrace/kernels/cpu/body/elementwise.h"
#include "terrace/kernels/half.h"

namespace terrace {
namespace {

inline constexpr float kGelu = 1.5957691216f, kGeluCube = 0.0713548163f;  // 2 sqrt(2 / pi), and times 0.044715

inline F clamped(F x, float most) { return V::min(V::set(most), V::max(V::set(-most), x)); }  // keeps a NaN

/// x / 2 (1 + tanh u) = x / (1 + exp(-2 u)).
inline F gelu_of(F x) {
  const F z = V::mul(x, V::fma(V::mul(x, x), V::set(-kGeluCube), V::set(-kGelu)));
  return V::div(x, V::add(V::set(1), exp_of(z)));
}
/// With s = 1 / (1 + exp(-2 u)): s + x s (1 - s) 2 u'. Beyond 9 it is 0 or 1, and exp must not overflow.
inline F gelu_slope(F x) {
  x = clamped(x, 9);
  const F square = V::mul(x, x);
  const F e = exp_of(V::mul(x, V::fma(square, V::set(-kGeluCube), V::set(-kGelu))));
  const F s = V::div(V::set(1), V::add(V::set(1), e)), slope = V::fma(square, V::set(3 * kGeluCube), V::set(kGelu));
  return V::fma(V::mul(V::mul(x, slope), V::mul(e, s)), s, s);
}
/// With s = 1 / (1 + exp(-x)): s + x s (1 - s).
inline F silu_slope(F x) {
  x = clamped(x, 87);
  const F e = exp_of(V::sub(V::set(0), x)), s = V::div(V::set(1), V::add(V::set(1), e));
  return V::fma(V::mul(x, V::mul(e, s)), s, s);
}

inline void sub_body(const KernelArgs& a) {
  binary(a, [](F x, F y) { return V::sub(x, y); });
}
inline void div_body(const KernelArgs& a) {
  binary(a, [](F x, F y) { return V::div(x, y); });
}
inline void accumulate_body(const KernelArgs& a) { add_body(a); }
inline void scale_body(const KernelArgs& a) {
  const F by = V::set(static_cast<float>(a.floats[0]));
  unary(a, [by](F x) { return V::mul(by, x); });
}
template <class T = float>
inline void relu_body(const KernelArgs& a) {
  unary<T>(a, [](F x) { return V::max(V::set(0), x); });
}
template <class T = float>
inline void gelu_body(const KernelArgs& a) {
  unary<T>(a, [](F x) { return gelu_of(x); });
}
template <class T = float>
inline void relu_grad_body(const KernelArgs& a) {
  binary<T>(a, [](F x, F dy) { return V::where_positive(x, dy); });
}
template <class T = float>
inline void gelu_grad_body(const KernelArgs& a) {
  binary<T>(a, [](F x, F dy) { return V::mul(dy, gelu_slope(x)); });
}
template <class T = float>
inline void silu_grad_body(const KernelArgs& a) {
  binary<T>(a, [](F x, F dy) { return V::mul(dy, silu_slope(x)); });
}

inline void add_bf16_body(const KernelArgs& a) { add_body<Bf16>(a); }
inline void mul_bf16_body(const KernelArgs& a) { mul_body<Bf16>(a); }
inline void silu_bf16_body(const KernelArgs& a) { silu_body<Bf16>(a); }
inline void silu_mul_bf16_body(const KernelArgs& a) { silu_mul_body<Bf16>(a); }
inline void relu_bf16_body(const KernelArgs& a) { relu_body<Bf16>(a); }
inline void gelu_bf16_body(const KernelArgs& a) { gelu_body<Bf16>(a); }
inline void relu_grad_bf16_body(const KernelArgs& a) { relu_grad_body<Bf16>(a); }
inline void gelu_grad_bf16_body(const KernelArgs& a) { gelu_grad_body<Bf16>(a); }
inline void silu_grad_bf16_body(const KernelArgs& a) { silu_grad_body<Bf16>(a); }

inline void cast_to_bf16_body(const KernelArgs& a) {
  each_run<2>(a, {&a.in[0], &a.out[0]}, [](std::byte* const* at, i64, i64 n) {
    const auto* x = reinterpret_cast<const float*>(at[0]);
    auto* y = reinterpret_cast<std::uint16_t*>(at[1]);
    for (i64 c = 0; c < n; ++c) y[c] = float_to_bf16(x[c]);
  });
}
inline void cast_to_f32_body(const KernelArgs& a) {
  each_run<2>(a, {&a.in[0], &a.out[0]}, [](std::byte* const* at, i64, i64 n) {
    const auto* x = reinterpret_cast<const std::uint16_t*>(at[0]);
    auto* y = reinterpret_cast<float*>(at[1]);
    for (i64 c = 0; c < n; ++c) y[c] = bf16_to_float(x[c]);
  });
}

}  // namespace
}  // namespace terrace
