// Sixteen pairs of bf16, which VDPBF16PS multiplies: of (x0, x1) the lower half is x0. Numbers are rounded to bf16 as
// the processor does it: to nearest, ties to even, and subnormal ones to 0.
#pragma once

#include "terrace/kernels/cpu/avx512/vec.h"
// The vectors come first.
#include "terrace/kernels/cpu/body/math.h"

#ifdef TERRACE_SIMDE
#define TERRACE_AVX512_BF16 avx512_bf16_simde
#else
#define TERRACE_AVX512_BF16 avx512_bf16
#endif

namespace terrace {
namespace {

/// Vectors of pairs travel as F. Slots of flash_slots.h.
struct Pairs {
  static constexpr i64 kEntries = 2;
  static F along(const F (&x)[2]) { return rounded(x[0], x[1]); }
  static F across(const F (&x)[2]) { return across(x[0], x[1]); }
#ifdef TERRACE_SIMDE
  /// sum + a0 b0 + a1 b1, the second product first.
  static F multiply(F a, F b, F sum) {
    const auto upper = [](F x) {
      return _mm512_castsi512_ps(
          _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
    };
    const auto lower = [](F x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 16)); };
    return V::fma(lower(a), lower(b), V::fma(upper(a), upper(b), sum));
  }
  /// The 32 floats of a and b, in order.
  static F rounded(F a, F b) {
    Bf16 t[32];
    F x;
    V::store_bf16(t, a);
    V::store_bf16(t + 16, b);
    std::memcpy(&x, t, 64);
    return x;
  }
#else
  static F multiply(F a, F b, F sum) { return _mm512_dpbf16_ps(sum, bits(a), bits(b)); }
  static F rounded(F a, F b) {
    const __m512bh x = _mm512_cvtne2ps_pbh(b, a);
    F f;
    std::memcpy(&f, &x, 64);
    return f;
  }
#endif

  /// Of 32 numbers that lie one after the other.
  static F along(const float* p) { return rounded(V::load(p), V::load(p + 16)); }
  static F along(const Bf16* p) { return _mm512_loadu_ps(reinterpret_cast<const float*>(p)); }
  /// Of the first `count` of them, with zeros behind.
  template <class T>
  static F some_along(const T* p, i64 count) {
    if (count >= 32) return along(p);
    T t[32] = {};
    std::memcpy(t, p, static_cast<std::size_t>(count) * sizeof(T));
    return along(t);
  }

  /// (x_i, y_i) of sixteen numbers each.
  static F across(const float* x, const float* y) { return across(V::load(x), V::load(y)); }
  static F across(F x, F y) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(rounded(x, y))));
  }
  static F across(const Bf16* x, const Bf16* y) {
    const auto wide = [](const Bf16* p) {
      return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    };
    return _mm512_castsi512_ps(_mm512_or_si512(wide(x), _mm512_slli_epi32(wide(y), 16)));
  }
  /// Of the first `count`, with zeros behind; and with zeros for y if it is null.
  template <class T>
  static F some_across(const T* x, const T* y, i64 count) {
    if (count >= 16 && y != nullptr) return across(x, y);
    T t[2][16] = {};
    const std::size_t bytes = static_cast<std::size_t>(count < 16 ? count : 16) * sizeof(T);
    std::memcpy(t[0], x, bytes);
    if (y != nullptr) std::memcpy(t[1], y, bytes);
    return across(t[0], t[1]);
  }

 private:
#ifndef TERRACE_SIMDE
  static __m512bh bits(F x) {
    __m512bh b;
    std::memcpy(&b, &x, 64);
    return b;
  }
#endif
};

}  // namespace
}  // namespace terrace
