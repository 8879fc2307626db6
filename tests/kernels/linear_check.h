// What every kernel of `linear` is held to: a naive product in double, and the same bits however the work is cut.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "support/allocations.h"
#include "terrace/kernels/kernel.h"

namespace terrace::linear_check {

struct Subject {
  std::string name;
  Format x, w;
  KernelFn fn;
};

inline constexpr Format kF32{DType::f32, Layout::dense};
inline constexpr Format kF16{DType::f16, Layout::dense};
inline constexpr Format kQ8a{DType::f32, Layout::q8a};
inline constexpr Format blocks(Layout l) { return {DType::f32, l}; }

/// A half that is a small positive or negative power of two times 1 .. 1.99, and its value.
inline std::uint16_t random_half(std::mt19937& rng) {
  const auto exponent = 5 + rng() % 6, sign = rng() & 1u;
  return static_cast<std::uint16_t>(sign << 15 | exponent << 10 | (rng() & 1023u));
}

inline double half_value(const std::byte* p) {
  std::uint16_t h;
  std::memcpy(&h, p, 2);
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const double v = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (h & 0x8000) != 0 ? -v : v;
}

inline double float_value(const std::byte* p) {
  float f;
  std::memcpy(&f, p, 4);
  return static_cast<double>(f);
}

/// Rows of one format with `gap` bytes between them, in a buffer that ends where the last row does: address sanitizers
/// see any read beyond it.
struct Rows {
  Format format;
  i64 rows, columns;
  u64 stride;
  std::vector<std::byte> bytes;

  Rows(Format f, i64 r, i64 c, u64 gap = 0)
      : format(f),
        rows(r),
        columns(c),
        stride(row_bytes(f.dtype, f.layout, c) + gap),
        bytes(static_cast<std::size_t>(r) * stride - gap) {}
  std::byte* row(i64 i) { return bytes.data() + static_cast<u64>(i) * stride; }
  const std::byte* row(i64 i) const { return bytes.data() + static_cast<u64>(i) * stride; }
  TensorView view(i64 begin, i64 end) {
    TensorView v;
    v.data = row(begin);
    v.dtype = format.dtype;
    v.layout = format.layout;
    v.rank = 2;
    v.dim[0] = end - begin;
    v.dim[1] = columns;
    v.stride[0] = static_cast<i64>(stride);
    v.stride[1] = format.layout == Layout::dense ? (format.dtype == DType::f16 ? 2 : 4) : 0;
    return v;
  }

  double at(i64 i, i64 c) const {
    const std::byte* p = row(i);
    const i64 b = c / kBlock, e = c % kBlock;
    switch (format.layout) {
      case Layout::dense: return format.dtype == DType::f16 ? half_value(p + 2 * c) : float_value(p + 4 * c);
      case Layout::q8_0:
        return half_value(p + 34 * b) * static_cast<double>(static_cast<signed char>(p[34 * b + 2 + e]));
      case Layout::q4_0: return half_value(p + 18 * b) * (nibble(p + 18 * b + 2, e) - 8);
      case Layout::q4_1: return half_value(p + 20 * b) * nibble(p + 20 * b + 4, e) + half_value(p + 20 * b + 2);
      case Layout::q8a: return float_value(p + columns + 4 * b) * static_cast<double>(static_cast<signed char>(p[c]));
    }
    return 0;
  }
  static int nibble(const std::byte* p, i64 e) {
    return e < 16 ? static_cast<int>(p[e]) & 15 : static_cast<int>(p[e - 16]) >> 4;
  }

  /// One row of q8a from its integers and the blocks' scales.
  void put_q8a(i64 i, const std::vector<int>& q, const std::vector<float>& d) {
    std::byte* p = row(i);
    for (i64 c = 0; c < columns; ++c) p[c] = static_cast<std::byte>(q[static_cast<std::size_t>(c)]);
    for (i64 b = 0; b < columns / kBlock; ++b) {
      int sum = 0;
      for (i64 e = 0; e < kBlock; ++e) sum += q[static_cast<std::size_t>(b * kBlock + e)];
      const float s = d[static_cast<std::size_t>(b)] * static_cast<float>(sum);
      std::memcpy(p + columns + 4 * b, &d[static_cast<std::size_t>(b)], 4);
      std::memcpy(p + columns + columns / 8 + 4 * b, &s, 4);
    }
  }

  void fill(unsigned seed) {
    std::mt19937 rng(seed);
    std::uniform_real_distribution<float> real(-2, 2);
    for (auto& b : bytes) b = static_cast<std::byte>(rng() & 255u);  // quants, and rubbish between the rows
    const i64 n = columns / kBlock;
    for (i64 i = 0; i < rows; ++i) {
      std::byte* p = row(i);
      const auto half = [&](i64 at) {
        const std::uint16_t h = random_half(rng);
        std::memcpy(p + at, &h, 2);
      };
      switch (format.layout) {
        case Layout::dense:
          for (i64 c = 0; c < columns; ++c) {
            const float f = real(rng);
            if (format.dtype == DType::f16)
              half(2 * c);
            else
              std::memcpy(p + 4 * c, &f, 4);
          }
          break;
        case Layout::q8_0:
          for (i64 b = 0; b < n; ++b) half(34 * b);
          break;
        case Layout::q4_0:
          for (i64 b = 0; b < n; ++b) half(18 * b);
          break;
        case Layout::q4_1:
          for (i64 b = 0; b < n; ++b) {
            half(20 * b);
            half(20 * b + 2);
          }
          break;
        case Layout::q8a: {
          std::vector<int> q(static_cast<std::size_t>(columns));
          std::vector<float> d(static_cast<std::size_t>(n));
          for (auto& v : q) v = static_cast<int>(rng() % 255) - 127;
          for (auto& v : d) v = std::fabs(real(rng)) / 127;
          if (i % 3 == 1) {  // a block of zeros has a scale of zero
            d[0] = 0;
            for (std::size_t e = 0; e < 32; ++e) q[e] = 0;
          }
          put_q8a(i, q, d);
          break;
        }
      }
    }
  }
};

/// Runs all workers, one after the other.
inline void run(KernelFn fn, const TensorView& x, const TensorView& w, const TensorView& y, int workers) {
  const TensorView in[2] = {x, w};
  KernelArgs a;
  a.in = in;
  a.out = &y;
  a.workers = workers;
  const long before = testing::allocations();
  for (a.worker = workers - 1; a.worker >= 0; --a.worker) fn(a);
  ASSERT_EQ(testing::allocations(), before) << "a kernel allocates";
}

/// Against the product in double, within a few roundings of the sum of absolute products.
inline void expect_close(const Subject& s, i64 n, i64 r, i64 k, int workers) {
  SCOPED_TRACE(s.name + " n=" + std::to_string(n) + " r=" + std::to_string(r) + " k=" + std::to_string(k));
  Rows x(s.x, n, k, 24), w(s.w, r, k), y(kF32, n, r);
  x.fill(1);
  w.fill(2);
  y.fill(3);
  run(s.fn, x.view(0, n), w.view(0, r), y.view(0, n), workers);
  int wrong = 0;
  for (i64 i = 0; i < n; ++i) {
    for (i64 j = 0; j < r; ++j) {
      double sum = 0, size = 0;
      for (i64 c = 0; c < k; ++c) {
        const double p = x.at(i, c) * w.at(j, c);
        sum += p;
        size += std::fabs(p);
      }
      const double got = float_value(y.row(i) + 4 * j);
      if (!(std::fabs(got - sum) <= 1e-6 * size + 1e-30) && wrong++ < 3) {
        ADD_FAILURE() << "y[" << i << "][" << j << "] = " << got << ", not " << sum;
      }
    }
  }
  EXPECT_EQ(wrong, 0);
}

/// The same bits for other numbers of rows of x, other slices of rows of w, and any number of workers; and nothing
/// written beside the slice of y.
inline void expect_same_bits(const Subject& s, i64 k) {
  constexpr i64 kN = 41, kR = 150;
  Rows x(s.x, kN, k), w(s.w, kR, k), y(kF32, kN, kR);
  x.fill(4);
  w.fill(5);
  run(s.fn, x.view(0, kN), w.view(0, kR), y.view(0, kN), 1);
  const struct { i64 begin, end; } slices[] = {{0, kR}, {0, 1}, {16, 48}, {5, 70}, {37, 150}, {140, 150}};
  for (i64 n : {1, 2, 3, 4, 5, 8, 17, 41}) {
    for (i64 first : {i64{0}, kN - n}) {
      for (auto slice : slices) {
        for (int workers : {1, 2, 3}) {
          Rows z(kF32, n, kR);
          std::memset(z.bytes.data(), 0x5a, z.bytes.size());
          Rows expected = z;
          TensorView out = z.view(0, n);
          out.data += 4 * slice.begin;
          out.dim[1] = slice.end - slice.begin;
          const auto bytes = static_cast<std::size_t>(4 * out.dim[1]);
          for (i64 i = 0; i < n; ++i) {
            std::memcpy(expected.row(i) + 4 * slice.begin, y.row(first + i) + 4 * slice.begin, bytes);
          }
          run(s.fn, x.view(first, first + n), w.view(slice.begin, slice.end), out, workers);
          ASSERT_TRUE(z.bytes == expected.bytes)
              << s.name << " k=" << k << " n=" << n << " from row " << first << ", rows " << slice.begin << " to "
              << slice.end << ", " << workers << " workers";
        }
      }
    }
  }
}

/// One output of one block: `q` is what the weight stores for every element, or each in turn.
inline float one_block(const Subject& s, const std::vector<int>& wq, double wd, double wm, const std::vector<int>& xq,
                       float xd) {
  const auto half = [](double v) {  // v is a power of two, or zero
    return v == 0 ? std::uint16_t{0} : static_cast<std::uint16_t>((std::ilogb(v) + 15) << 10 | (v < 0 ? 0x8000 : 0));
  };
  Rows x(s.x, 1, 32), w(s.w, 1, 32), y(kF32, 1, 1);
  if (s.x.layout == Layout::q8a) {
    x.put_q8a(0, xq, {xd});
  } else {
    for (std::size_t e = 0; e < 32; ++e) {
      const float f = xd * static_cast<float>(xq[e]);
      std::memcpy(x.row(0) + 4 * e, &f, 4);
    }
  }
  std::byte* p = w.row(0);
  const std::uint16_t d = half(wd), m = half(wm);
  std::memcpy(p, &d, 2);
  if (s.w.layout == Layout::q4_1) std::memcpy(p + 2, &m, 2);
  const int quants = s.w.layout == Layout::q4_1 ? 4 : 2;
  for (std::size_t e = 0; e < 32; ++e) {
    if (s.w.layout == Layout::q8_0)
      p[quants + static_cast<int>(e)] = static_cast<std::byte>(wq[e]);
    else
      p[quants + static_cast<int>(e % 16)] |= static_cast<std::byte>(e < 16 ? wq[e] : wq[e] << 4);
  }
  run(s.fn, x.view(0, 1), w.view(0, 1), y.view(0, 1), 1);
  return static_cast<float>(float_value(y.row(0)));
}

/// Values worked out by hand, among them the largest sums that each layout can hold.
inline void expect_by_hand(const Subject& s) {
  SCOPED_TRACE(s.name);
  const std::vector<int> x127(32, 127);
  std::vector<int> ramp(32);  // 0 .. 31
  for (int e = 0; e < 32; ++e) ramp[static_cast<std::size_t>(e)] = e;
  std::vector<int> wq(32, 0);
  switch (s.w.layout) {
    case Layout::q8_0:
      EXPECT_EQ(one_block(s, std::vector<int>(32, -128), 1, 0, x127, 1), -520192.0F);  // -128 * 127 * 32
      EXPECT_EQ(one_block(s, std::vector<int>(32, 127), 1, 0, x127, 1), 516128.0F);    // 127 * 127 * 32
      wq[1] = 200 - 256;
      wq[2] = 3;
      wq[31] = -1;
      EXPECT_EQ(one_block(s, wq, 0.5, 0, ramp, 0.25F), -10.125F);  // (-56 * 1 + 3 * 2 - 31) / 8
      break;
    case Layout::q4_0:
      EXPECT_EQ(one_block(s, wq, 1, 0, x127, 1), -32512.0F);                       // -8 * 127 * 32
      EXPECT_EQ(one_block(s, std::vector<int>(32, 15), 1, 0, x127, 1), 28448.0F);  // 7 * 127 * 32
      wq[1] = 11;
      wq[17] = 5;
      EXPECT_EQ(one_block(s, wq, 0.5, 0, ramp, 0.25F), -484.0F);  // (-8 * 496 + 11 * 1 + 5 * 17) / 8
      break;
    case Layout::q4_1:
      EXPECT_EQ(one_block(s, std::vector<int>(32, 15), 1, 1, x127, 1), 65024.0F);  // (15 + 1) * 127 * 32
      EXPECT_EQ(one_block(s, wq, 0, -2, std::vector<int>(32, -127), 1), 8128.0F);  // -2 * -127 * 32
      wq[1] = 11;
      wq[17] = 5;
      EXPECT_EQ(one_block(s, wq, 0.5, 0.25, ramp, 0.25F), 43.0F);  // (11 + 5 * 17) / 8 + 496 / 16
      break;
    default: break;
  }
}

inline void expect_all(const Subject& s) {
  expect_by_hand(s);
  const struct {
    i64 n, r, k;
  } shapes[] = {{1, 1, 32}, {3, 7, 96}, {5, 17, 160}, {17, 40, 576}, {35, 50, 288}, {2, 100, 1056}, {40, 3, 64}};
  for (auto t : shapes) {
    expect_close(s, t.n, t.r, t.k, 1);
    expect_close(s, t.n, t.r, t.k, 2);
  }
  expect_same_bits(s, 352);
  if (s.w.layout != Layout::dense) return;
  for (i64 k : {1, 7, 33, 100}) {
    expect_close(s, 3, 5, k, 1);
    expect_same_bits(s, k);
  }
}

}  // namespace terrace::linear_check
