// AVX-512 intrinsics: the processor's, or emulated ones so that tests check the arithmetic on any machine.
//
// A test defines TERRACE_SIMDE and includes a kernel's source file; its functions then live in terrace::avx512_simde
// and do not clash with the real ones. Kernel files write `namespace terrace::TERRACE_AVX512 { ... }`.
#pragma once

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
#define TERRACE_AVX512 avx512_simde
#else
#include <immintrin.h>
#define TERRACE_AVX512 avx512
#endif
