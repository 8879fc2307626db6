// Conversions and transpositions of 8 x 8 tiles for AVX2 and up. Include after the intrinsics.
#pragma once

#include <cstddef>

#include "terrace/core/units.h"

namespace terrace {
namespace {

inline __m128i load_16_bytes(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

inline void x86_half8(const std::byte* p, float* to) { _mm256_storeu_ps(to, _mm256_cvtph_ps(load_16_bytes(p))); }

/// to[64 c + r] = half c of the eight at rows[r] + offset.
inline void x86_half8x8(const std::byte* const* rows, i64 offset, float* to) {
  __m128i t[8], u[8];
  for (int i = 0; i < 4; ++i) {
    const __m128i a = load_16_bytes(rows[2 * i] + offset), b = load_16_bytes(rows[2 * i + 1] + offset);
    t[i] = _mm_unpacklo_epi16(a, b);      // columns 0..3 of rows 2i, 2i+1
    t[i + 4] = _mm_unpackhi_epi16(a, b);  // columns 4..7
  }
  for (int h = 0; h < 2; ++h) {
    u[4 * h] = _mm_unpacklo_epi32(t[4 * h], t[4 * h + 1]);          // rows 0..3 of two columns
    u[4 * h + 1] = _mm_unpacklo_epi32(t[4 * h + 2], t[4 * h + 3]);  // rows 4..7
    u[4 * h + 2] = _mm_unpackhi_epi32(t[4 * h], t[4 * h + 1]);
    u[4 * h + 3] = _mm_unpackhi_epi32(t[4 * h + 2], t[4 * h + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + 128 * i, _mm256_cvtph_ps(_mm_unpacklo_epi64(u[2 * i], u[2 * i + 1])));
    _mm256_storeu_ps(to + 128 * i + 64, _mm256_cvtph_ps(_mm_unpackhi_epi64(u[2 * i], u[2 * i + 1])));
  }
}

/// The same for floats.
inline void x86_float8x8(const std::byte* const* rows, i64 offset, float* to) {
  __m256 t[8], u[8];
  const auto row = [&](int r) { return _mm256_loadu_ps(reinterpret_cast<const float*>(rows[r] + offset)); };
  for (int i = 0; i < 4; ++i) {
    const __m256 a = row(2 * i), b = row(2 * i + 1);
    t[2 * i] = _mm256_unpacklo_ps(a, b);      // columns 0, 1 | 4, 5 of rows 2i, 2i+1
    t[2 * i + 1] = _mm256_unpackhi_ps(a, b);  // columns 2, 3 | 6, 7
  }
  for (int h = 0; h < 2; ++h) {  // rows 0..3, rows 4..7
    const int i = 4 * h;
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);  // column 0 | 4
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int c = 0; c < 4; ++c) {
    _mm256_storeu_ps(to + 64 * c, _mm256_permute2f128_ps(u[c], u[c + 4], 0x20));
    _mm256_storeu_ps(to + 64 * (c + 4), _mm256_permute2f128_ps(u[c], u[c + 4], 0x31));
  }
}

}  // namespace
}  // namespace terrace
