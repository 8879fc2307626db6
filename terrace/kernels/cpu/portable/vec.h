// A vector of floats in what every compiler offers. vec.h of each instruction set has the same functions, so that the
// bodies (../body/) are written once. All are private to the file that includes them.
#pragma once

#include <cstddef>
#include <cstring>

#include "terrace/kernels/half.h"

namespace terrace {
namespace {

typedef float F __attribute__((vector_size(16)));

struct V {
  typedef std::int32_t I __attribute__((vector_size(16)));
  static constexpr int kLanes = 4;
  static F load(const float* p) {
    F x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
  static F set(float x) { return F{x, x, x, x}; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  /// a * b + c, rounded once where the processor can.
  static F fma(F a, F b, F c) { return a * b + c; }
  /// b where a is NaN.
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F sqrt(F x) {
    return F{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
  }
  /// y where x > 0, else 0.
  static F where_positive(F x, F y) { return x > set(0) ? y : set(0); }
  /// To integers, ties to even; |x| < 2^22.
  static F rint(F x) { return (x + 12582912.0f) - 12582912.0f; }
  /// y * 2^n for an integer n in [-252, 254], rounded once.
  static F scale(F y, F n) {
    const I i = __builtin_convertvector(n, I), half = i >> 1;
    return y * bits((half + 127) << 23) * bits((i - half + 127) << 23);
  }
  /// x in the first `count` lanes, `other` in the rest.
  static F first(F x, int count, float other) {
    const I lane = {0, 1, 2, 3};
    return lane < count ? x : set(other);
  }
  /// Lanes folded by halves.
  static float sum(F x) { return (x[0] + x[2]) + (x[1] + x[3]); }
  static float top(F x) {
    const float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
  }
  /// Pairs (x0, x1) turned by (c, s): (x0 c - x1 s, x0 s + x1 c), each product rounded.
  static F rotate(F x, F cs) {
    const F c = {cs[0], cs[0], cs[2], cs[2]}, s = {-cs[1], cs[1], -cs[3], cs[3]}, swapped = {x[1], x[0], x[3], x[2]};
    return x * c + swapped * s;
  }
  /// The nearest bfloat16, ties to even, a NaN quiet: as a float, stored as 16 bits, and read from them.
  static F round_bf16(F x) { return reinterpret_cast<F>(rounded(x) & 0xffff0000u); }
  static void store_bf16(Bf16* p, F x) {
    const H h = __builtin_convertvector(rounded(x) >> 16, H);
    std::memcpy(p, &h, sizeof h);
  }
  static F load_bf16(const Bf16* p) {
    H h;
    std::memcpy(&h, p, sizeof h);
    return reinterpret_cast<F>(__builtin_convertvector(h, U) << 16);
  }
  static void to_half(F x, std::byte* p) {
    for (int i = 0; i < 4; ++i) {
      const std::uint16_t h = float_to_half(x[i]);
      std::memcpy(p + 2 * i, &h, 2);
    }
  }
  /// Eight halves to floats.
  static void half8(const std::byte* p, float* to) {
    store(to, half4(p));
    store(to + 4, half4(p + 8));
  }
  /// to[64 c + r] = element c of rows[r], r and c < 8.
  static void float8x8(const std::byte* const* rows, i64 offset, float* to) {
    for (int r = 0; r < 8; ++r)
      for (int c = 0; c < 8; ++c) std::memcpy(to + 64 * c + r, rows[r] + offset + 4 * c, 4);
  }
  static void half8x8(const std::byte* const* rows, i64 offset, float* to) {
    float t[8][8];
    for (int r = 0; r < 8; ++r) half8(rows[r] + offset, t[r]);
    for (int c = 0; c < 8; ++c)
      for (int r = 0; r < 8; ++r) to[64 * c + r] = t[r][c];
  }
  /// The block of quantize (reference/rows.cc says the rounding): writes 32 q and d, returns the sum of q.
  static int quantize32(const float* x, std::byte* q, float* d) {
    u32 top = 0;
    for (int i = 0; i < 32; ++i) {
      u32 b;
      std::memcpy(&b, x + i, 4);
      b &= 0x7fffffffu;
      top = b > top ? b : top;
    }
    float m;
    std::memcpy(&m, &top, 4);
    *d = m / 127.0f;
    const float inverse = *d >= 0x1p-126f && *d <= 0x1.fffffep127f ? 1.0f / *d : 0.0f;
    int sum = 0;
    for (int i = 0; i < 32; i += 4) {
      const F v = rint(min(max(load(x + i) * inverse, set(-127)), set(127)));
      const I n = __builtin_convertvector(v, I);
      for (int j = 0; j < 4; ++j) q[i + j] = static_cast<std::byte>(n[j]);
      sum += (n[0] + n[1]) + (n[2] + n[3]);
    }
    return sum;
  }
  /// kWide lanes of 64 bits, of which products see the lower halves. One here: scalars multiply faster.
  using W = u64;
  static constexpr int kWide = 1;
  static W wide(u64 x) { return x; }
  static W counted_from(u64 x) { return x; }
  static W product(W a, W b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
  static W exclusive_or(W a, W b) { return a ^ b; }
  static W upper_halves(W a) { return a >> 32; }
  /// The lower halves of a, with those of b above them.
  static void store_halves(u64* p, W a, W b) { *p = (a & 0xffffffffu) | b << 32; }

 private:
  typedef u32 U __attribute__((vector_size(16)));
  typedef std::uint16_t H __attribute__((vector_size(8)));
  /// float_to_bf16 of half.h, in the upper halves.
  static U rounded(F x) {
    const U bits = reinterpret_cast<U>(x);
    return (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
  }
  /// half_to_float of half.h.
  static F half4(const std::byte* p) {
    H h;
    std::memcpy(&h, p, sizeof h);
    const U wide = __builtin_convertvector(h, U), magnitude = (wide & 0x7fffu) << 13;
    const F f = reinterpret_cast<F>(magnitude) * 0x1p112f;
    const U b = magnitude >= (31u << 23) ? (magnitude | 0x7f800000u) : reinterpret_cast<U>(f);
    return reinterpret_cast<F>(b | (wide & 0x8000u) << 16);
  }
  static F bits(I i) {
    F x;
    std::memcpy(&x, &i, sizeof x);
    return x;
  }
};

}  // namespace
}  // namespace terrace
