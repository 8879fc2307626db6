// Squares of sixteen floats turned round; see ../portable/turn.h.
#pragma once

#include "terrace/kernels/cpu/avx512/intrinsics.h"
// It needs the intrinsics.
#include "terrace/core/units.h"

namespace terrace {
namespace {

inline constexpr i64 kSquare = 16;

inline void turn(const float* const* rows, i64 column, float* to, i64 stride) {
  for (i64 c = 0; c < kSquare; c += 4) {
    __m512 a[4];  // elements c .. c+3 of rows i, i + 4, i + 8 and i + 12
    for (int i = 0; i < 4; ++i) {
      const auto four = [&](int r) { return _mm_loadu_ps(rows[r] + column + c); };
      a[i] = _mm512_insertf32x4(_mm512_castps128_ps512(four(i)), four(i + 4), 1);
      a[i] = _mm512_insertf32x4(_mm512_insertf32x4(a[i], four(i + 8), 2), four(i + 12), 3);
    }
    const __m512 p = _mm512_unpacklo_ps(a[0], a[1]), q = _mm512_unpackhi_ps(a[0], a[1]);
    const __m512 r = _mm512_unpacklo_ps(a[2], a[3]), s = _mm512_unpackhi_ps(a[2], a[3]);
    float* line = to + stride * c;
    _mm512_storeu_ps(line, _mm512_shuffle_ps(p, r, 0x44));
    _mm512_storeu_ps(line + stride, _mm512_shuffle_ps(p, r, 0xee));
    _mm512_storeu_ps(line + 2 * stride, _mm512_shuffle_ps(q, s, 0x44));
    _mm512_storeu_ps(line + 3 * stride, _mm512_shuffle_ps(q, s, 0xee));
  }
}

}  // namespace
}  // namespace terrace
