// Blocks of weights taken apart, and 32 elements of a weight's row as floats, eight vectors of four.
#pragma once

#include "terrace/kernels/cpu/chunks.h"
#include "terrace/kernels/half.h"

namespace terrace {
namespace {

typedef float FourFloats __attribute__((vector_size(16)));

inline float half_at(const unsigned char* p) {
  std::uint16_t h;
  __builtin_memcpy(&h, p, 2);
  return half_to_float(h);
}

/// A block of a weight: element = d q + m.
struct Block {
  signed char q[32];
  float d, m;
};

inline void unpack_nibbles(const unsigned char* p, int bias, Block& b) {
  for (int i = 0; i < 16; ++i) {
    b.q[i] = static_cast<signed char>((p[i] & 15) - bias);
    b.q[i + 16] = static_cast<signed char>((p[i] >> 4) - bias);
  }
}

template <class W>
inline void decode_block(const unsigned char* p, FourFloats* v) {
  Block b;
  W::unpack(p, b);
  float f[32];
  for (int i = 0; i < 32; ++i) {
    f[i] = b.d * static_cast<float>(b.q[i]);
    if constexpr (W::kHasMin) f[i] += b.m;
  }
  __builtin_memcpy(v, f, sizeof f);
}

struct F16 : DenseOffset<2> {
  static void decode(const unsigned char* p, FourFloats* v) {
    for (int i = 0; i < 32; ++i) v[i / 4][i % 4] = half_at(p + i * 2);
  }
};

struct Q8_0 : BlockOffset<34> {
  static constexpr int kBytes = 34;
  static constexpr bool kHasMin = false;
  static void unpack(const unsigned char* p, Block& b) {
    b.d = half_at(p);
    __builtin_memcpy(b.q, p + 2, 32);
  }
  static void decode(const unsigned char* p, FourFloats* v) { decode_block<Q8_0>(p, v); }
};

struct Q4_0 : BlockOffset<18> {
  static constexpr int kBytes = 18;
  static constexpr bool kHasMin = false;
  static void unpack(const unsigned char* p, Block& b) {
    b.d = half_at(p);
    unpack_nibbles(p + 2, 8, b);
  }
  static void decode(const unsigned char* p, FourFloats* v) { decode_block<Q4_0>(p, v); }
};

struct Q4_1 : BlockOffset<20> {
  static constexpr int kBytes = 20;
  static constexpr bool kHasMin = true;
  static void unpack(const unsigned char* p, Block& b) {
    b.d = half_at(p);
    b.m = half_at(p + 2);
    unpack_nibbles(p + 4, 0, b);
  }
  static void decode(const unsigned char* p, FourFloats* v) { decode_block<Q4_1>(p, v); }
};

}  // namespace
}  // namespace terrace
