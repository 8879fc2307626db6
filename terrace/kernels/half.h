// IEEE half precision and bfloat16 by hand, exact on every processor.
// `static inline`: files built for other instruction sets include this, and must keep their copies to themselves.
#pragma once

#include <cstring>

#include "terrace/core/units.h"

namespace terrace {

/// The float that stands for exactly the same number; a NaN stays one.
static inline float half_to_float(std::uint16_t h) {
  const u32 magnitude = (h & 0x7fffu) << 13;
  float f;
  std::memcpy(&f, &magnitude, 4);
  f *= 0x1p112f;  // moves the exponent's bias from 15 to 127; subnormal halves become normal floats, all exactly
  u32 bits;
  std::memcpy(&bits, &f, 4);
  if (magnitude >= (31u << 23)) bits = 0x7f800000u | magnitude;  // infinity and NaN
  bits |= (h & 0x8000u) << 16;
  std::memcpy(&f, &bits, 4);
  return f;
}

/// The nearest half, ties to even; beyond 65504 infinity; a NaN becomes a quiet one.
static inline std::uint16_t float_to_half(float f) {
  u32 bits;
  std::memcpy(&bits, &f, 4);
  const u32 sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  u32 out;
  if (bits > 0x7f800000u) {
    out = 0x7e00u | ((bits >> 13) & 0x3ffu);
  } else if (bits >= 0x477ff000u) {  // 65520 rounds up to 65536
    out = 0x7c00u;
  } else if (bits < 0x38800000u) {  // below 2^-14: a float at 0.5 has the step of subnormal halves, so the sum rounds
    std::memcpy(&f, &bits, 4);
    f += 0.5f;
    std::memcpy(&bits, &f, 4);
    out = bits - 0x3f000000u;
  } else {
    out = (bits + 0xfffu + ((bits >> 13) & 1u) - (112u << 23)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | out);
}

/// The half at any address.
static inline float load_half(const void* p) {
  std::uint16_t h;
  std::memcpy(&h, p, 2);
  return half_to_float(h);
}

/// bfloat16 is a float without its last 16 bits. Where kernels point at such numbers, they point at these.
struct Bf16 {
  std::uint16_t bits;
};
static inline float bf16_to_float(std::uint16_t h) {
  const u32 bits = u32{h} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
/// The nearest bfloat16, ties to even; a NaN becomes a quiet one.
static inline std::uint16_t float_to_bf16(float f) {
  u32 bits;
  std::memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
static inline float load_bf16(const void* p) {
  std::uint16_t h;
  std::memcpy(&h, p, 2);
  return bf16_to_float(h);
}

}  // namespace terrace
