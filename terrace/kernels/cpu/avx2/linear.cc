// linear with x in q8a for AVX2: eight rows of w to a register, sixteen to a panel.
#include <immintrin.h>

#include "terrace/kernels/cpu/linear.h"
#include "terrace/kernels/cpu/linear_blocks.h"

namespace terrace::avx2 {
namespace {

struct Avx2 {
  using F = __m256;
  using I = __m256i;
  static constexpr int kLanes = 8, kGroups = 2, kBlocks = 8, kTokens = 32;
  static constexpr i64 kPrefetch = 8 << 10;

  static F load(const float* p) { return _mm256_load_ps(p); }
  static void store(float* p, F v) { _mm256_store_ps(p, v); }
  static I load(const unsigned char* p) { return _mm256_load_si256(reinterpret_cast<const I*>(p)); }
  static void store(unsigned char* p, I v) { _mm256_store_si256(reinterpret_cast<I*>(p), v); }
  static F set(float v) { return _mm256_set1_ps(v); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F to_float(I v) { return _mm256_cvtepi32_ps(v); }
  static I zero() { return _mm256_setzero_si256(); }
  static I sub(I a, int b) { return _mm256_sub_epi32(a, _mm256_set1_epi32(b)); }
  static void pin(I& v) { __asm__("" : "+x"(v)); }
  static I broadcast4(const unsigned char* p) {
    int v;
    __builtin_memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
  }
  static void prefetch(const unsigned char* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

  /// bias * sum(q) of `count` blocks: s / d is within 2^-22 of the integer sum. A block of zeros gives 0 / 0, which
  /// converts to 2^31, which the bias (a power of two) shifts out.
  static void biases(const float* d, const float* s, int count, int bias, int* out) {
    const I lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const I mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
    const F ratio = _mm256_div_ps(_mm256_maskload_ps(s, mask), _mm256_maskload_ps(d, mask));
    const I sum = _mm256_mullo_epi32(_mm256_cvtps_epi32(ratio), _mm256_set1_epi32(bias));
    _mm256_store_si256(reinterpret_cast<I*>(out), sum);
  }
};

/// Dword j of the 16 bytes at rows(i) + offset goes to lane i of out[j].
template <class Rows>
inline void transpose16(Rows rows, int offset, __m256i* out) {
  __m256i a[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m128i lo = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows(i) + offset));
    const __m128i hi = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows(i + 4) + offset));
    a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(lo), hi, 1);
  }
  const __m256i b0 = _mm256_unpacklo_epi32(a[0], a[1]), b1 = _mm256_unpackhi_epi32(a[0], a[1]);
  const __m256i b2 = _mm256_unpacklo_epi32(a[2], a[3]), b3 = _mm256_unpackhi_epi32(a[2], a[3]);
  out[0] = _mm256_unpacklo_epi64(b0, b2);
  out[1] = _mm256_unpackhi_epi64(b0, b2);
  out[2] = _mm256_unpacklo_epi64(b1, b3);
  out[3] = _mm256_unpackhi_epi64(b1, b3);
}

inline short half_at(const unsigned char* p) {
  short v;
  __builtin_memcpy(&v, p, 2);
  return v;
}

inline int dword_at(const unsigned char* p) {
  int v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

/// The eight rows' half scales at their blocks' beginnings.
template <class Rows>
inline __m256 unpack_scales(Rows r) {
  return _mm256_cvtph_ps(_mm_setr_epi16(half_at(r(0)), half_at(r(1)), half_at(r(2)), half_at(r(3)), half_at(r(4)),
                                        half_at(r(5)), half_at(r(6)), half_at(r(7))));
}

template <class Rows>
inline void unpack_nibbles(Rows rows, int offset, __m256i* q) {
  const __m256i low = _mm256_set1_epi8(15);
  __m256i v[4];
  transpose16(rows, offset, v);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    q[j] = _mm256_and_si256(v[j], low);
    q[j + 4] = _mm256_and_si256(_mm256_srli_epi16(v[j], 4), low);
  }
}

/// Nibbles times bytes: eight pairs of products (15 * 127 * 2 * 8 = 30480) fit in 16 bits, so these are widened last.
struct Nibbles {
  static __m256i add_dot(__m256i dot, __m256i w, __m256i x) {
    return _mm256_add_epi16(dot, _mm256_maddubs_epi16(w, x));
  }
  static __m256i finish_dot(__m256i dot) { return _mm256_madd_epi16(dot, _mm256_set1_epi16(1)); }
};

struct Q4_0 : Nibbles {
  static constexpr int kBytes = 18, kBias = 8;
  static constexpr bool kHasMin = false;
  template <class Rows>
  static void unpack(Rows rows, __m256i* q, __m256& d, __m256& m) {
    unpack_nibbles(rows, 2, q);
    d = m = unpack_scales(rows);
  }
};

struct Q4_1 : Nibbles {
  static constexpr int kBytes = 20, kBias = 0;
  static constexpr bool kHasMin = true;
  template <class Rows>
  static void unpack(Rows r, __m256i* q, __m256& d, __m256& m) {
    unpack_nibbles(r, 4, q);
    const __m256i dm = _mm256_setr_epi32(dword_at(r(0)), dword_at(r(1)), dword_at(r(2)), dword_at(r(3)), dword_at(r(4)),
                                         dword_at(r(5)), dword_at(r(6)), dword_at(r(7)));
    const __m256i both =
        _mm256_packus_epi32(_mm256_and_si256(dm, _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(dm, 16));
    const __m256i order = _mm256_permute4x64_epi64(both, 0xd8);  // d of the eight rows, then m
    d = _mm256_cvtph_ps(_mm256_castsi256_si128(order));
    m = _mm256_cvtph_ps(_mm256_extracti128_si256(order, 1));
  }
};

/// |w| times x with w's sign: pairs reach 2 * 128 * 127 = 32512, which does not saturate. x is never -128.
struct Q8_0 {
  static constexpr int kBytes = 34, kBias = 0;
  static constexpr bool kHasMin = false;
  template <class Rows>
  static void unpack(Rows rows, __m256i* q, __m256& d, __m256& m) {
    transpose16(rows, 2, q);
    transpose16(rows, 18, q + 4);
    d = m = unpack_scales(rows);
  }
  static __m256i add_dot(__m256i dot, __m256i w, __m256i x) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static __m256i finish_dot(__m256i dot) { return dot; }
};

}  // namespace

void linear_q8a_q8_0(const KernelArgs& a) { BlockLinear<Avx2, Q8_0>::run(a); }
void linear_q8a_q4_0(const KernelArgs& a) { BlockLinear<Avx2, Q4_0>::run(a); }
void linear_q8a_q4_1(const KernelArgs& a) { BlockLinear<Avx2, Q4_1>::run(a); }

}  // namespace terrace::avx2
