// Sixteen floats at a time; what each function does stands in ../portable/vec.h.
#pragma once

#include "terrace/kernels/cpu/avx512/intrinsics.h"
// The tiles need the intrinsics.
#include "terrace/kernels/cpu/body/x86_tiles.h"
#include "terrace/kernels/half.h"

namespace terrace {
namespace {

using F = __m512;

struct V {
  static constexpr int kLanes = 16;
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F sqrt(F x) { return _mm512_sqrt_ps(x); }
  static F where_positive(F x, F y) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, set(0), _CMP_GT_OQ), y); }
  static F rint(F x) { return _mm512_roundscale_ps(x, 0x08); }
  static F scale(F y, F n) { return _mm512_scalef_ps(y, n); }
  static F first(F x, int count, float other) {
    const unsigned mask = count >= 16 ? 0xffffu : (1u << (count < 0 ? 0 : count)) - 1u;
    return _mm512_mask_mov_ps(set(other), static_cast<std::uint16_t>(mask), x);
  }
  static float sum(F x) {
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), high(x));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
  }
  static float top(F x) {
    const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), high(x));
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
  }
  static F rotate(F x, F cs) {
    const F a = mul(x, _mm512_shuffle_ps(cs, cs, 0xa0)),
            b = mul(_mm512_shuffle_ps(x, x, 0xb1), _mm512_shuffle_ps(cs, cs, 0xf5));
    return _mm512_mask_sub_ps(add(a, b), 0x5555, a, b);
  }
  static F round_bf16(F x) {
    return _mm512_castsi512_ps(_mm512_and_si512(rounded(x), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static void store_bf16(Bf16* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(x), 16)));
  }
  static F load_bf16(const Bf16* p) {
    const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
  }
  static void to_half(F x, std::byte* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(_mm512_castps512_ps256(x), 0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16), _mm256_cvtps_ph(high(x), 0));
  }
  static void half8(const std::byte* p, float* to) { x86_half8(p, to); }
  static void half8x8(const std::byte* const* rows, i64 offset, float* to) { x86_half8x8(rows, offset, to); }
  static void float8x8(const std::byte* const* rows, i64 offset, float* to) { x86_float8x8(rows, offset, to); }

  static int quantize32(const float* x, std::byte* q, float* d) {
    const F a = load(x), b = load(x + 16);
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i m = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                       _mm512_and_si512(_mm512_castps_si512(b), magnitude));
    const __m256i m8 = _mm256_max_epi32(_mm512_castsi512_si256(m), high(m));
    __m128i h = _mm_max_epi32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
    h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1));
    *d = _mm_cvtss_f32(_mm_castsi128_ps(h)) / 127.0f;
    const float inverse = *d >= 0x1p-126f && *d <= 0x1.fffffep127f ? 1.0f / *d : 0.0f;
    const auto nearest = [&](F v) { return integers(min(max(mul(v, set(inverse)), set(-127)), set(127))); };
    const __m512i p = nearest(a), r = nearest(b), s = _mm512_add_epi32(p, r);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtsepi32_epi8(p));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16), _mm512_cvtsepi32_epi8(r));
    const __m256i s8 = _mm256_add_epi32(_mm512_castsi512_si256(s), high(s));
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s8), _mm256_extracti128_si256(s8, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return _mm_cvtsi128_si32(t);
  }

  using W = __m512i;
  static constexpr int kWide = 8;
  static W wide(u64 x) { return _mm512_set1_epi64(static_cast<i64>(x)); }
  static W counted_from(u64 x) { return _mm512_add_epi64(wide(x), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)); }
  static W product(W a, W b) { return _mm512_mul_epu32(a, b); }
  static W exclusive_or(W a, W b) { return _mm512_xor_si512(a, b); }
  static W upper_halves(W a) { return _mm512_srli_epi64(a, 32); }
  static void store_halves(u64* p, W a, W b) {
    _mm512_storeu_si512(p, _mm512_mask_blend_epi32(0xaaaa, a, _mm512_slli_epi64(b, 32)));
  }

 private:
  static __m512i rounded(F x) {
    const __m512i bits = _mm512_castps_si512(x),
                  last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff)));
    return _mm512_mask_or_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
  }
  /// Nearest integers, ties to even, of |x| < 2^22: they are the low bits of x + 1.5 * 2^23.
  static __m512i integers(F x) {
    return _mm512_sub_epi32(_mm512_castps_si512(add(x, set(12582912.0f))), _mm512_set1_epi32(0x4b400000));
  }
  static __m256i high(__m512i x) { return _mm512_extracti64x4_epi64(x, 1); }
  static __m256 high(F x) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)); }
};

}  // namespace
}  // namespace terrace
