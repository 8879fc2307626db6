// Squares of eight floats turned round; see ../portable/turn.h.
#pragma once

#include <immintrin.h>

#include "terrace/core/units.h"

namespace terrace {
namespace {

inline constexpr i64 kSquare = 8;

inline void turn(const float* const* rows, i64 column, float* to, i64 stride) {
  for (i64 c = 0; c < kSquare; c += 4) {
    __m256 a[4];  // elements c .. c+3 of rows i and i + 4
    for (int i = 0; i < 4; ++i) {
      a[i] = _mm256_castps128_ps256(_mm_loadu_ps(rows[i] + column + c));
      a[i] = _mm256_insertf128_ps(a[i], _mm_loadu_ps(rows[i + 4] + column + c), 1);
    }
    const __m256 p = _mm256_unpacklo_ps(a[0], a[1]), q = _mm256_unpackhi_ps(a[0], a[1]);
    const __m256 r = _mm256_unpacklo_ps(a[2], a[3]), s = _mm256_unpackhi_ps(a[2], a[3]);
    float* line = to + stride * c;
    _mm256_storeu_ps(line, _mm256_shuffle_ps(p, r, 0x44));
    _mm256_storeu_ps(line + stride, _mm256_shuffle_ps(p, r, 0xee));
    _mm256_storeu_ps(line + 2 * stride, _mm256_shuffle_ps(q, s, 0x44));
    _mm256_storeu_ps(line + 3 * stride, _mm256_shuffle_ps(q, s, 0xee));
  }
}

}  // namespace
}  // namespace terrace
