// AVX-512 intrinsics: the processor's, or emulated ones so that tests check the arithmetic on any machine.
//
// A test defines TERRACE_SIMDE and includes a kernel's source file; its functions then live in terrace::avx512_simde
// and do not clash with the real ones. Kernel files write `namespace terrace::TERRACE_AVX512 { ... }`.
#pragma once

// g++ 12 takes its own _mm512_undefined_* for reads of unset variables, wherever they are inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#ifdef TERRACE_SIMDE
#ifndef SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_ENABLE_NATIVE_ALIASES
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#pragma GCC diagnostic pop

// Intrinsics that this emulation lacks.
static inline simde__m512 terrace_cvtepi32_ps(simde__m512i v) {
  simde__m512 f;
  int from[16];
  float to[16];
  __builtin_memcpy(from, &v, 64);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<float>(from[i]);
  __builtin_memcpy(&f, to, 64);
  return f;
}
static inline simde__m512i terrace_cvtepi8_epi32(simde__m128i v) {
  simde__m512i wide;
  signed char from[16];
  int to[16];
  __builtin_memcpy(from, &v, 16);
  for (int i = 0; i < 16; ++i) to[i] = from[i];
  __builtin_memcpy(&wide, to, 64);
  return wide;
}
static inline simde__m512 terrace_cvtph_ps(simde__m256i v) {
  simde__m128i half[2];
  simde__m256 f[2];
  simde__m512 both;
  __builtin_memcpy(half, &v, 32);
  for (int i = 0; i < 2; ++i) f[i] = simde_mm256_cvtph_ps(half[i]);
  __builtin_memcpy(&both, f, 64);
  return both;
}
static inline simde__m512i terrace_cvtepu16_epi32(simde__m256i v) {
  simde__m512i wide;
  unsigned short from[16];
  int to[16];
  __builtin_memcpy(from, &v, 32);
  for (int i = 0; i < 16; ++i) to[i] = from[i];
  __builtin_memcpy(&wide, to, 64);
  return wide;
}
static inline simde__m256i terrace_cvtepi32_epi16(simde__m512i v) {
  simde__m256i low;
  int from[16];
  unsigned short to[16];
  __builtin_memcpy(from, &v, 64);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<unsigned short>(from[i]);
  __builtin_memcpy(&low, to, 32);
  return low;
}
#define _mm512_cvtepu16_epi32(v) terrace_cvtepu16_epi32(v)
#define _mm512_cvtepi32_epi16(v) terrace_cvtepi32_epi16(v)
#define _mm512_cvtepi32_ps(v) terrace_cvtepi32_ps(v)
#define _mm512_cvtepi8_epi32(v) terrace_cvtepi8_epi32(v)
#define _mm512_cvtph_ps(v) terrace_cvtph_ps(v)
#define TERRACE_AVX512 avx512_simde
#else
#include <immintrin.h>
#define TERRACE_AVX512 avx512
#endif
