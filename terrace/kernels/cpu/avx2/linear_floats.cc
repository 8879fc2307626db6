// linear with x in f32 for AVX2.
#include <immintrin.h>

#include "terrace/kernels/cpu/linear.h"
#include "terrace/kernels/cpu/linear_floats.h"

namespace terrace::avx2 {
namespace {

struct Avx2 {
  using F = __m256;
  static constexpr int kLanes = 8;
  static F zero_f() { return _mm256_setzero_ps(); }
  static F load_any(const float* p) { return _mm256_loadu_ps(p); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static float sum_lanes(F v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
};

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

struct F32 : DenseOffset<4> {
  static void decode(const unsigned char* p, __m256* v) {
    for (int i = 0; i < 4; ++i) v[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(p) + i * 8);
  }
};

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

void linear_f32_f32(const KernelArgs& a) { FloatLinear<Avx2, F32>::run(a); }
void linear_f32_f16(const KernelArgs& a) { FloatLinear<Avx2, F16>::run(a); }
void linear_f32_q8_0(const KernelArgs& a) { FloatLinear<Avx2, Q8_0>::run(a); }
void linear_f32_q4_0(const KernelArgs& a) { FloatLinear<Avx2, Q4_0>::run(a); }
void linear_f32_q4_1(const KernelArgs& a) { FloatLinear<Avx2, Q4_1>::run(a); }

}  // namespace terrace::avx2
