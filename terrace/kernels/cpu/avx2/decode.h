// 32 elements of a weight's row as floats, four vectors of eight.
#pragma once

#include <immintrin.h>

#include "terrace/kernels/cpu/chunks.h"

namespace terrace {
namespace {

inline __m256 half_at(const unsigned char* p) {
  short h;
  __builtin_memcpy(&h, p, 2);
  return _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<unsigned short>(h))));
}

inline __m128i load16(const unsigned char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

/// Sixteen signed bytes as floats.
inline void widen(__m128i q, __m256* v) {
  v[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
  v[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)));
}

inline void widen_nibbles(const unsigned char* p, __m256* v) {
  const __m128i q = load16(p), low = _mm_set1_epi8(15);
  widen(_mm_and_si128(q, low), v);
  widen(_mm_and_si128(_mm_srli_epi16(q, 4), low), v + 2);
}

struct F16 : DenseOffset<2> {
  static void decode(const unsigned char* p, __m256* v) {
    for (int i = 0; i < 4; ++i) v[i] = _mm256_cvtph_ps(load16(p + i * 16));
  }
};

struct Q8_0 : BlockOffset<34> {
  static void decode(const unsigned char* p, __m256* v) {
    const __m256 d = half_at(p);
    widen(load16(p + 2), v);
    widen(load16(p + 18), v + 2);
    for (int i = 0; i < 4; ++i) v[i] = _mm256_mul_ps(v[i], d);
  }
};

struct Q4_0 : BlockOffset<18> {
  static void decode(const unsigned char* p, __m256* v) {
    const __m256 d = half_at(p), eight = _mm256_set1_ps(8);
    widen_nibbles(p + 2, v);
    for (int i = 0; i < 4; ++i) v[i] = _mm256_mul_ps(_mm256_sub_ps(v[i], eight), d);
  }
};

struct Q4_1 : BlockOffset<20> {
  static void decode(const unsigned char* p, __m256* v) {
    const __m256 d = half_at(p), m = half_at(p + 2);
    widen_nibbles(p + 4, v);
    for (int i = 0; i < 4; ++i) v[i] = _mm256_fmadd_ps(v[i], d, m);
  }
};

}  // namespace
}  // namespace terrace
