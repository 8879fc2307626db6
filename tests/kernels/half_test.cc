// Halves, against constants and against arithmetic.
#include "terrace/kernels/half.h"

#include <gtest/gtest.h>

#include <cmath>

namespace terrace {
namespace {

double value_of(int h) {  // IEEE 754, written out
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const double v = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (h & 0x8000) != 0 ? -v : v;
}

TEST(Half, EveryOneIsExactAndComesBack) {
  for (int h = 0; h < 65536; ++h) {
    const auto bits = static_cast<std::uint16_t>(h);
    const float f = half_to_float(bits);
    if ((h & 0x7fff) > 0x7c00) {
      EXPECT_TRUE(std::isnan(f)) << h;
      EXPECT_EQ(float_to_half(f), bits | 0x200) << h;
      continue;
    }
    if ((h & 0x7fff) == 0x7c00)
      EXPECT_EQ(f, h < 0x8000 ? INFINITY : -INFINITY);
    else
      EXPECT_EQ(static_cast<double>(f), value_of(h)) << h;
    EXPECT_EQ(std::signbit(f), h >= 0x8000) << h;
    EXPECT_EQ(float_to_half(f), bits) << h;
  }
}

TEST(Half, RoundsToNearestTiesToEven) {
  // Between each half and the next: just below the middle, the middle, just above it.
  for (int h = 0; h < 0x7c00; ++h) {
    const double low = value_of(h), high = h == 0x7bff ? 65536 : value_of(h + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    EXPECT_EQ(float_to_half(std::nextafter(middle, 0.0f)), h);
    EXPECT_EQ(float_to_half(std::nextafter(middle, 1e9f)), h + 1);
    EXPECT_EQ(float_to_half(middle), h + (h & 1)) << h;
    EXPECT_EQ(float_to_half(-middle), 0x8000 + h + (h & 1)) << h;
  }
}

TEST(Half, Constants) {
  EXPECT_EQ(float_to_half(1.0f), 0x3c00);
  EXPECT_EQ(float_to_half(-2.0f), 0xc000);
  EXPECT_EQ(float_to_half(0.1f), 0x2e66);
  EXPECT_EQ(float_to_half(65504.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(1e30f), 0x7c00);
  EXPECT_EQ(float_to_half(6.1035156e-5f), 0x0400);   // the smallest normal one
  EXPECT_EQ(float_to_half(5.9604645e-8f), 0x0001);   // the smallest
  EXPECT_EQ(float_to_half(2.9802322e-8f), 0x0000);   // half of it: a tie, to even
  EXPECT_EQ(float_to_half(2.98023260e-8f), 0x0001);  // just above
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
  EXPECT_EQ(half_to_float(0x3555), 0.33325195f);
}

}  // namespace
}  // namespace terrace
