// A vector type's conversions against half.h, and the exponential written over it against the C library's in double.
// Include after a vec.h and body/math.h.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "terrace/kernels/half.h"

namespace terrace {
namespace {

inline float exp_lane(float x) {
  float t[V::kLanes];
  V::store(t, exp_of(V::set(x)));
  return t[V::kLanes - 1];
}

/// Every `step`-th float of both signs: at most 2 units of the last place away (of a subnormal's, where it is one).
inline void expect_exp(u32 step) {
  for (u32 sign : {0u, 0x80000000u})
    for (u32 magnitude = 0; magnitude < 0x7f800000u; magnitude += step) {
      const u32 bits = sign | magnitude;
      float x;
      std::memcpy(&x, &bits, 4);
      const double want = std::exp(static_cast<double>(x));
      const float got = exp_lane(x);
      if (want > 3.4028235677973366e38) {
        ASSERT_EQ(got, INFINITY) << x;
      } else {
        const auto near = static_cast<float>(want);
        const double unit = static_cast<double>(std::nextafter(near, INFINITY)) - static_cast<double>(near);
        const double error = std::fabs(static_cast<double>(got) - want);
        ASSERT_TRUE(error <= 2 * unit) << x;
      }
    }
  EXPECT_EQ(exp_lane(0.0f), 1.0f);
  EXPECT_EQ(exp_lane(-0.0f), 1.0f);
  EXPECT_EQ(exp_lane(-INFINITY), 0.0f);
  EXPECT_EQ(exp_lane(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(exp_lane(NAN)));
}

/// Every half, by eights and by turned tiles.
inline void expect_halves() {
  std::uint16_t halves[64];
  const std::byte* rows[8];
  for (int r = 0; r < 8; ++r) rows[r] = reinterpret_cast<const std::byte*>(halves + 8 * r);
  float line[8], tile[8 * 64] = {};
  const auto same = [](float a, std::uint16_t h) {
    const float b = half_to_float(h);
    return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b));
  };
  for (int first = 0; first < 65536; first += 64) {
    for (int i = 0; i < 64; ++i) halves[i] = static_cast<std::uint16_t>(first + i);
    V::half8x8(rows, 0, tile);
    for (int r = 0; r < 8; ++r) {
      V::half8(rows[r], line);
      for (int c = 0; c < 8; ++c) {
        ASSERT_TRUE(same(line[c], halves[8 * r + c])) << halves[8 * r + c];
        ASSERT_TRUE(same(tile[64 * c + r], halves[8 * r + c])) << halves[8 * r + c];
      }
    }
  }
}

}  // namespace
}  // namespace terrace
