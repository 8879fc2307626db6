// linear with x in f32 for AVX-512.
#include "terrace/kernels/cpu/avx512/decode.h"
// The loops need the decoders.
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

struct F32 : DenseOffset<4> {
  static void decode(const unsigned char* p, __m512* v) {
    for (int i = 0; i < 2; ++i) v[i] = _mm512_loadu_ps(reinterpret_cast<const float*>(p) + i * 16);
  }
};

}  // namespace

void linear_f32_f32(const KernelArgs& a) { FloatLinear<Avx512, F32>::run(a); }
void linear_f32_f16(const KernelArgs& a) { FloatLinear<Avx512, F16>::run(a); }
void linear_f32_q8_0(const KernelArgs& a) { FloatLinear<Avx512, Q8_0>::run(a); }
void linear_f32_q4_0(const KernelArgs& a) { FloatLinear<Avx512, Q4_0>::run(a); }
void linear_f32_q4_1(const KernelArgs& a) { FloatLinear<Avx512, Q4_1>::run(a); }

}  // namespace terrace::TERRACE_AVX512
