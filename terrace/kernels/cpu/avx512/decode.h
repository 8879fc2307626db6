// 32 elements of a weight's row as floats, two vectors of sixteen.
#pragma once

#include "terrace/kernels/cpu/avx512/intrinsics.h"
// It needs the intrinsics.
#include "terrace/kernels/cpu/chunks.h"

namespace terrace {
namespace {

inline __m512 half_at(const unsigned char* p) {
  short h;
  __builtin_memcpy(&h, p, 2);
  return _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<unsigned short>(h))));
}

inline __m128i load16(const unsigned char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

/// Sixteen signed bytes as floats.
inline __m512 widen(__m128i q) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)); }

inline void widen_nibbles(const unsigned char* p, __m512* v) {
  const __m128i q = load16(p), low = _mm_set1_epi8(15);
  v[0] = widen(_mm_and_si128(q, low));
  v[1] = widen(_mm_and_si128(_mm_srli_epi16(q, 4), low));
}

struct F16 : DenseOffset<2> {
  static void decode(const unsigned char* p, __m512* v) {
    for (int i = 0; i < 2; ++i)
      v[i] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i * 32)));
  }
};

struct Q8_0 : BlockOffset<34> {
  static void decode(const unsigned char* p, __m512* v) {
    const __m512 d = half_at(p);
    for (int i = 0; i < 2; ++i) v[i] = _mm512_mul_ps(widen(load16(p + 2 + 16 * i)), d);
  }
};

struct Q4_0 : BlockOffset<18> {
  static void decode(const unsigned char* p, __m512* v) {
    const __m512 d = half_at(p), eight = _mm512_set1_ps(8);
    widen_nibbles(p + 2, v);
    for (int i = 0; i < 2; ++i) v[i] = _mm512_mul_ps(_mm512_sub_ps(v[i], eight), d);
  }
};

struct Q4_1 : BlockOffset<20> {
  static void decode(const unsigned char* p, __m512* v) {
    const __m512 d = half_at(p), m = half_at(p + 2);
    widen_nibbles(p + 4, v);
    for (int i = 0; i < 2; ++i) v[i] = _mm512_fmadd_ps(v[i], d, m);
  }
};

}  // namespace
}  // namespace terrace
