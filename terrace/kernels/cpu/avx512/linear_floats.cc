// linear with x in f32 for AVX-512.
#include "terrace/kernels/cpu/avx512/intrinsics.h"

#include "terrace/kernels/cpu/linear.h"
#include "terrace/kernels/cpu/linear_floats.h"

namespace terrace::TERRACE_AVX512 {
namespace {

struct Avx512 {
  using F = __m512;
  static constexpr int kLanes = 16;
  static F zero_f() { return _mm512_setzero_ps(); }
  static F load_any(const float* p) { return _mm512_loadu_ps(p); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum_lanes(F v) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), high);
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
};

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

struct F32 : DenseOffset<4> {
  static void decode(const unsigned char* p, __m512* v) {
    for (int i = 0; i < 2; ++i) v[i] = _mm512_loadu_ps(reinterpret_cast<const float*>(p) + i * 16);
  }
};

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

void linear_f32_f32(const KernelArgs& a) { FloatLinear<Avx512, F32>::run(a); }
void linear_f32_f16(const KernelArgs& a) { FloatLinear<Avx512, F16>::run(a); }
void linear_f32_q8_0(const KernelArgs& a) { FloatLinear<Avx512, Q8_0>::run(a); }
void linear_f32_q4_0(const KernelArgs& a) { FloatLinear<Avx512, Q4_0>::run(a); }
void linear_f32_q4_1(const KernelArgs& a) { FloatLinear<Avx512, Q4_1>::run(a); }

}  // namespace terrace::TERRACE_AVX512
