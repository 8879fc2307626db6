// Eight floats at a time; what each function does stands in ../portable/vec.h.
#pragma once

#include <immintrin.h>

#include "terrace/kernels/cpu/body/x86_tiles.h"
#include "terrace/kernels/half.h"

namespace terrace {
namespace {

using F = __m256;

struct V {
  static constexpr int kLanes = 8;
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F sqrt(F x) { return _mm256_sqrt_ps(x); }
  static F where_positive(F x, F y) { return _mm256_and_ps(_mm256_cmp_ps(x, set(0), _CMP_GT_OQ), y); }
  static F rint(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F scale(F y, F n) {
    const __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    return mul(mul(y, power(half)), power(_mm256_sub_epi32(i, half)));
  }
  static F first(F x, int count, float other) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_blendv_ps(set(other), x, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane)));
  }
  static float sum(F x) {
    const __m128 a = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 b = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
  }
  static float top(F x) {
    const __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 b = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
  }
  static F rotate(F x, F cs) {
    const F swapped = _mm256_permute_ps(x, 0xb1);
    return _mm256_addsub_ps(mul(x, _mm256_moveldup_ps(cs)), mul(swapped, _mm256_movehdup_ps(cs)));
  }
  static F round_bf16(F x) {
    return _mm256_castsi256_ps(_mm256_and_si256(rounded(x), _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static void store_bf16(Bf16* p, F x) {
    const __m256i h = _mm256_srli_epi32(rounded(x), 16);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1)));
  }
  static F load_bf16(const Bf16* p) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
  }
  static void to_half(F x, std::byte* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static void half8(const std::byte* p, float* to) { x86_half8(p, to); }
  static void half8x8(const std::byte* const* rows, i64 offset, float* to) { x86_half8x8(rows, offset, to); }
  static void float8x8(const std::byte* const* rows, i64 offset, float* to) { x86_float8x8(rows, offset, to); }

  static int quantize32(const float* x, std::byte* q, float* d) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i v[4], m = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i)  // as integers, so that a NaN is the largest
      m = _mm256_max_epi32(m, _mm256_and_si256(_mm256_castps_si256(load(x + 8 * i)), magnitude));
    __m128i h = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1));
    *d = _mm_cvtss_f32(_mm_castsi128_ps(h)) / 127.0f;
    const float inverse = *d >= 0x1p-126f && *d <= 0x1.fffffep127f ? 1.0f / *d : 0.0f;
    for (int i = 0; i < 4; ++i)
      v[i] = _mm256_cvtps_epi32(min(max(mul(load(x + 8 * i), set(inverse)), set(-127)), set(127)));
    const __m256i s = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    // The packs work within halves; dwords then come as 0 4 1 5 ...
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_permutevar8x32_epi32(bytes, order));
    return _mm_cvtsi128_si32(t);
  }

  using W = __m256i;
  static constexpr int kWide = 4;
  static W wide(u64 x) { return _mm256_set1_epi64x(static_cast<i64>(x)); }
  static W counted_from(u64 x) { return _mm256_add_epi64(wide(x), _mm256_setr_epi64x(0, 1, 2, 3)); }
  static W product(W a, W b) { return _mm256_mul_epu32(a, b); }
  static W exclusive_or(W a, W b) { return _mm256_xor_si256(a, b); }
  static W upper_halves(W a) { return _mm256_srli_epi64(a, 32); }
  static void store_halves(u64* p, W a, W b) {
    _mm256_storeu_si256(reinterpret_cast<W*>(p), _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa));
  }

 private:
  static __m256i rounded(F x) {
    const __m256i bits = _mm256_castps_si256(x),
                  last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    return _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  }
  static F power(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }
};

}  // namespace
}  // namespace terrace
