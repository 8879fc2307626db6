// linear with x in q8a for AVX-512 with VNNI: sixteen rows of w to a register, thirty-two to a panel.
#include "terrace/kernels/cpu/linear.h"
#include "terrace/kernels/cpu/avx512/intrinsics.h"
#include "terrace/kernels/cpu/linear_blocks.h"

namespace terrace::TERRACE_AVX512 {
namespace {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr int kLanes = 16, kGroups = 2, kBlocks = 4, kTokens = 16;
  static constexpr i64 kPrefetch = 8 << 10;

  static F load(const float* p) { return _mm512_load_ps(p); }
  static void store(float* p, F v) { _mm512_store_ps(p, v); }
  static I load(const unsigned char* p) { return _mm512_load_si512(p); }
  static void store(unsigned char* p, I v) { _mm512_store_si512(p, v); }
  static F set(float v) { return _mm512_set1_ps(v); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F to_float(I v) { return _mm512_cvtepi32_ps(v); }
  static I zero() { return _mm512_setzero_si512(); }
  static I sub(I a, int b) { return _mm512_sub_epi32(a, _mm512_set1_epi32(b)); }
#ifdef TERRACE_SIMDE
  static void pin(I&) {}
#else
  static void pin(I& v) { __asm__("" : "+v"(v)); }
#endif
  static I broadcast4(const unsigned char* p) {
    int v;
    __builtin_memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
  }
  static void prefetch(const unsigned char* p) { __builtin_prefetch(p, 0, 2); }

  /// bias * sum(q) of `count` blocks: s / d is within 2^-22 of the integer sum. A block of zeros gives 0 / 0, which
  /// converts to 2^31, which the bias (a power of two) shifts out.
  static void biases(const float* d, const float* s, int count, int bias, int* out) {
    float ends[2][4] = {};  // the last blocks of a row, where four would reach beyond it
    if (count < 4) {
      for (int i = 0; i < count; ++i) {
        ends[0][i] = d[i];
        ends[1][i] = s[i];
      }
      d = ends[0];
      s = ends[1];
    }
    const __m128 ratio = _mm_div_ps(_mm_loadu_ps(s), _mm_loadu_ps(d));
    const __m128i sum = _mm_mullo_epi32(_mm_cvtps_epi32(ratio), _mm_set1_epi32(bias));
    _mm_store_si128(reinterpret_cast<__m128i*>(out), sum);
  }
};

template <class Rows>
inline __m128i load16(Rows rows, int row, int offset) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows(row) + offset));
}

/// Dword j of the 16 bytes at rows(i) + offset goes to lane i of out[j].
template <class Rows>
inline void transpose16(Rows rows, int offset, __m512i* out) {
  __m512i a[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_castsi128_si512(load16(rows, i, offset));
    a[i] = _mm512_inserti32x4(a[i], load16(rows, i + 4, offset), 1);
    a[i] = _mm512_inserti32x4(a[i], load16(rows, i + 8, offset), 2);
    a[i] = _mm512_inserti32x4(a[i], load16(rows, i + 12, offset), 3);
  }
  const __m512i b0 = _mm512_unpacklo_epi32(a[0], a[1]), b1 = _mm512_unpackhi_epi32(a[0], a[1]);
  const __m512i b2 = _mm512_unpacklo_epi32(a[2], a[3]), b3 = _mm512_unpackhi_epi32(a[2], a[3]);
  out[0] = _mm512_unpacklo_epi64(b0, b2);
  out[1] = _mm512_unpackhi_epi64(b0, b2);
  out[2] = _mm512_unpacklo_epi64(b1, b3);
  out[3] = _mm512_unpackhi_epi64(b1, b3);
}

template <class Rows>
inline short half_at(Rows rows, int row, int offset) {
  short v;
  __builtin_memcpy(&v, rows(row) + offset, 2);
  return v;
}

/// The sixteen rows' halves at `offset` of their blocks.
template <class Rows>
inline __m512 unpack_scales(Rows r, int o) {
  const __m128i lo = _mm_setr_epi16(half_at(r, 0, o), half_at(r, 1, o), half_at(r, 2, o), half_at(r, 3, o),
                                    half_at(r, 4, o), half_at(r, 5, o), half_at(r, 6, o), half_at(r, 7, o));
  const __m128i hi = _mm_setr_epi16(half_at(r, 8, o), half_at(r, 9, o), half_at(r, 10, o), half_at(r, 11, o),
                                    half_at(r, 12, o), half_at(r, 13, o), half_at(r, 14, o), half_at(r, 15, o));
  return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(lo), hi, 1));
}

template <class Rows>
inline void unpack_nibbles(Rows rows, int offset, __m512i* q) {
  const __m512i low = _mm512_set1_epi8(15);
  __m512i v[4];
  transpose16(rows, offset, v);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    q[j] = _mm512_and_si512(v[j], low);
    q[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), low);
  }
}

/// Unsigned bytes of w times signed bytes of x, summed in 32 bits: nothing can saturate.
struct Vnni {
  static __m512i add_dot(__m512i dot, __m512i w, __m512i x) { return _mm512_dpbusd_epi32(dot, w, x); }
  static __m512i finish_dot(__m512i dot) { return dot; }
};

struct Q4_0 : Vnni {
  static constexpr int kBytes = 18, kBias = 8;
  static constexpr bool kHasMin = false;
  template <class Rows>
  static void unpack(Rows rows, __m512i* q, __m512& d, __m512& m) {
    unpack_nibbles(rows, 2, q);
    d = m = unpack_scales(rows, 0);
  }
};

struct Q4_1 : Vnni {
  static constexpr int kBytes = 20, kBias = 0;
  static constexpr bool kHasMin = true;
  template <class Rows>
  static void unpack(Rows rows, __m512i* q, __m512& d, __m512& m) {
    unpack_nibbles(rows, 4, q);
    d = unpack_scales(rows, 0);
    m = unpack_scales(rows, 2);
  }
};

/// q + 128 is unsigned; the bias takes 128 times the sum of x off again.
struct Q8_0 : Vnni {
  static constexpr int kBytes = 34, kBias = 128;
  static constexpr bool kHasMin = false;
  template <class Rows>
  static void unpack(Rows rows, __m512i* q, __m512& d, __m512& m) {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    transpose16(rows, 2, q);
    transpose16(rows, 18, q + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) q[j] = _mm512_xor_si512(q[j], flip);
    d = m = unpack_scales(rows, 0);
  }
};

}  // namespace

void linear_q8a_q8_0(const KernelArgs& a) { BlockLinear<Avx512, Q8_0>::run(a); }
void linear_q8a_q4_0(const KernelArgs& a) { BlockLinear<Avx512, Q4_0>::run(a); }
void linear_q8a_q4_1(const KernelArgs& a) { BlockLinear<Avx512, Q4_1>::run(a); }

}  // namespace terrace::TERRACE_AVX512
