// linear with x in f32 for AVX2.
#include "terrace/kernels/cpu/linear_floats.h"
#include "terrace/kernels/cpu/avx2/decode.h"
#include "terrace/kernels/cpu/linear.h"

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

struct F32 : DenseOffset<4> {
  static void decode(const unsigned char* p, __m256* v) {
    for (int i = 0; i < 4; ++i) v[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(p) + i * 8);
  }
};

}  // namespace

void linear_f32_f32(const KernelArgs& a) { FloatLinear<Avx2, F32>::run(a); }
void linear_f32_f16(const KernelArgs& a) { FloatLinear<Avx2, F16>::run(a); }
void linear_f32_q8_0(const KernelArgs& a) { FloatLinear<Avx2, Q8_0>::run(a); }
void linear_f32_q4_0(const KernelArgs& a) { FloatLinear<Avx2, Q4_0>::run(a); }
void linear_f32_q4_1(const KernelArgs& a) { FloatLinear<Avx2, Q4_1>::run(a); }

}  // namespace terrace::avx2
