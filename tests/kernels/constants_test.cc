// The reference and every other kernel against numbers worked out by hand.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "kernels/cpu_check.h"

namespace terrace {
namespace {

using namespace cpu_check;

/// Runs `op` with every kernel that takes these formats; `look` sees each result.
template <class Look>
void with_all(std::string_view op, Case made, Look look) {
  const KernelTable table = cpu_kernels(best_isa());
  std::vector<Format> formats;
  for (const Tensor& t : made.in) formats.push_back(t.format);
  formats.push_back(made.out.format);
  int found = 0;
  for (const Kernel& k : table.all()) {
    if (k.op != op || (!k.formats.empty() && k.formats != formats)) continue;
    SCOPED_TRACE(k.name);
    ++found;
    Case c = made;
    Tensor out = c.out;
    i64 n = 0;
    for (const Tensor& t : c.in)
      if (t.by_row) n = t.rows;
    apply(k.fn, c, out, 0, n, 1);
    look(out);
  }
  EXPECT_GE(found, 2) << op;
}

Tensor tensor(i64 n, std::initializer_list<float> values, Format f = kF32) {
  const i64 k = static_cast<i64>(values.size()) / n;
  Tensor t(f, n, k);
  i64 i = 0;
  for (const float v : values) t.put(i / k, i % k, v), ++i;
  return t;
}

TEST(Constants, Quantize) {
  Case c{{Tensor(kF32, 1, 64)}, Tensor(kQ8a, 1, 64)};
  for (i64 e = 0; e < 64; ++e) c.in[0].put(0, e, 0);
  // d = 254 / 127 = 2: 1, 3, -5 lie in the middle between integers.
  const float x[] = {254, 1, 3, -5, 100, -254, 0.99f};
  for (i64 e = 0; e < 7; ++e) c.in[0].put(0, e, x[e]);
  with_all("quantize", c, [](Tensor& out) {
    const int want[] = {127, 0, 2, -2, 50, -127, 0, 0};
    for (int e = 0; e < 8; ++e) EXPECT_EQ(std::to_integer<int>(out.row(0)[e]), want[e] & 255) << e;
    float d[2], s[2];
    std::memcpy(d, out.row(0) + 64, 8);
    std::memcpy(s, out.row(0) + 72, 8);
    EXPECT_EQ(d[0], 2);
    EXPECT_EQ(s[0], 100);  // 2 (127 + 2 - 2 + 50 - 127)
    EXPECT_EQ(d[1], 0);    // a block of zeros
    EXPECT_EQ(s[1], 0);
    for (int e = 32; e < 64; ++e) EXPECT_EQ(out.row(0)[e], std::byte{0});
  });
}

TEST(Constants, AppendInBlocks) {
  Case c{{Tensor(kQ8, 1, 32), Tensor(kF32, 1, 32)}, Tensor(kQ8, 3, 32)};
  for (i64 e = 0; e < 32; ++e) c.in[1].put(0, e, static_cast<float>(e) - 31.75f);
  c.in[0].by_row = c.out.by_row = false;
  c.in_place = true;
  c.pos = 1;
  with_all("append_rows", c, [](Tensor& out) {
    // d = 31.75 / 127 = 0.25 = half 0x3400; q = 4 e - 127.
    EXPECT_EQ(out.row(1)[0], std::byte{0x00});
    EXPECT_EQ(out.row(1)[1], std::byte{0x34});
    for (int e = 0; e < 32; ++e) EXPECT_EQ(std::to_integer<int>(out.row(1)[2 + e]), (4 * e - 127) & 255) << e;
    for (int b = 0; b < 34; ++b) {
      EXPECT_EQ(out.row(0)[b], std::byte{0xA5});
      EXPECT_EQ(out.row(2)[b], std::byte{0xA5});
    }
  });
}

TEST(Constants, Dequantize) {
  Tensor x({DType::f32, Layout::q4_1}, 1, 32);
  const unsigned char head[] = {0x00, 0x38, 0x00, 0xc0, 0x21, 0xf0};  // d 0.5, m -2, then nibbles
  std::memset(x.row(0), 0, 20);
  std::memcpy(x.row(0), head, sizeof head);
  with_all("dequantize", {{x}, Tensor(kF32, 1, 32)}, [](Tensor& out) {
    EXPECT_EQ(out.at(0, 0), -1.5);
    EXPECT_EQ(out.at(0, 1), -2);
    EXPECT_EQ(out.at(0, 16), -1);
    EXPECT_EQ(out.at(0, 17), 5.5);
  });
  Tensor y({DType::f32, Layout::q4_0}, 1, 32);
  std::memcpy(y.row(0), head, 2);
  std::memset(y.row(0) + 2, 0x9f, 16);
  with_all("dequantize", {{y}, Tensor(kF32, 1, 32)}, [](Tensor& out) {
    EXPECT_EQ(out.at(0, 3), 3.5);
    EXPECT_EQ(out.at(0, 31), 0.5);
  });
  Tensor z(kQ8, 1, 32);
  std::memcpy(z.row(0), head, 2);
  std::memset(z.row(0) + 2, 0x80, 32);
  with_all("dequantize", {{z}, Tensor(kF32, 1, 32)}, [](Tensor& out) { EXPECT_EQ(out.at(0, 9), -64); });
}

TEST(Constants, Rope) {
  // Turned by 90 degrees, by 180; the third pair lies behind d and stays.
  Case c{{tensor(1, {1, 2, 3, 4, 5, 6}), tensor(1, {0, 1, -1, 0})}, Tensor(kF32, 1, 6)};
  c.ints[0] = 6;
  with_all("rope", c, [](Tensor& out) {
    const double want[] = {-2, 1, -3, -4, 5, 6};
    for (int e = 0; e < 6; ++e) EXPECT_EQ(out.at(0, e), want[e]) << e;
  });
}

TEST(Constants, RopeAngles) {
  Case c{{Tensor(kF32, 2, 1)}, Tensor(kF32, 2, 4)};
  c.ints[0] = 4;
  c.floats[0] = 10000;  // frequencies 1 and 1/100
  c.pos = 2;
  with_all("rope_angles", c, [](Tensor& out) {
    EXPECT_EQ(out.at(0, 0), static_cast<double>(-0.41614684f));                            // cos 2
    EXPECT_EQ(out.at(0, 1), static_cast<double>(0.9092974f));                              // sin 2
    EXPECT_EQ(out.at(1, 2), static_cast<double>(0.99955003f));                             // cos 0.03
    EXPECT_EQ(out.at(1, 3), static_cast<double>(static_cast<float>(0.0299955002024957)));  // sin 0.03
  });
}

TEST(Constants, AttentionOfOneKeyIsItsValue) {
  for (const Format f : {kF16, kF32}) {
    Case c{{tensor(1, {1, 2, 3, 4}), tensor(1, {5, 6}, f), tensor(1, {0.5f, -7}, f)}, Tensor(kF32, 1, 4)};
    c.ints[0] = 2;
    c.ints[1] = 1;
    c.floats[0] = 0.5;
    c.scratch_head = 2;
    c.in[1].by_row = c.in[2].by_row = false;
    with_all("attention", c, [](Tensor& out) {
      for (int h = 0; h < 2; ++h) {
        EXPECT_EQ(out.at(0, 2 * h), 0.5);
        EXPECT_EQ(out.at(0, 2 * h + 1), -7);
      }
    });
  }
}

TEST(Constants, AttentionOfTwoKeys) {
  // Scores 0 and ln 3: weights 1/4 and 3/4. The second row's third key is far below and counts for nothing.
  Case c{{tensor(2, {1, 1}), tensor(3, {0, 1.09861229f, -500}), tensor(3, {8, 16, 1000})}, Tensor(kF32, 2, 1)};
  c.ints[0] = c.ints[1] = 1;
  c.floats[0] = 1;
  c.pos = 1;
  c.scratch_head = 1;
  c.in[1].by_row = c.in[2].by_row = false;
  with_all("attention", c, [](Tensor& out) {
    EXPECT_NEAR(out.at(0, 0), 14, 2e-6);
    EXPECT_NEAR(out.at(1, 0), 14, 2e-6);
  });
}

TEST(Constants, NormsAndSilu) {
  Case norm{{tensor(1, {3, -4}), tensor(1, {1, 10})}, Tensor(kF32, 1, 2)};
  norm.in[1].by_row = false;
  norm.floats[0] = 12.5;  // mean 12.5 + 12.5 = 25
  with_all("rms_norm", norm, [](Tensor& out) {
    EXPECT_NEAR(out.at(0, 0), 0.6, 1e-7);
    EXPECT_NEAR(out.at(0, 1), -8, 1e-6);
  });
  with_all("softmax", {{tensor(1, {0, 0.69314718f, -INFINITY, 0})}, Tensor(kF32, 1, 4)}, [](Tensor& out) {
    const double want[] = {0.25, 0.5, 0, 0.25};
    for (int e = 0; e < 4; ++e) EXPECT_NEAR(out.at(0, e), want[e], 1e-7) << e;
  });
  with_all("silu", {{tensor(1, {0, 1.09861229f, -1.09861229f})}, Tensor(kF32, 1, 3)}, [](Tensor& out) {
    EXPECT_EQ(out.at(0, 0), 0);
    EXPECT_NEAR(out.at(0, 1), 0.823959217, 1e-7);   // ln 3 * 3/4
    EXPECT_NEAR(out.at(0, 2), -0.274653072, 1e-7);  // -ln 3 * 1/4
  });
}

TEST(Constants, LinearOfBlocks) {
  // x: q = 1 in every place, d = 2; w: d = 0.5, q = 3 and 4: 32 * 2 * 0.5 * 3.5.
  Tensor x(kQ8a, 1, 32), w(kQ8, 1, 32);
  std::memset(x.row(0), 1, 32);
  const float d = 2, s = 64;
  std::memcpy(x.row(0) + 32, &d, 4);
  std::memcpy(x.row(0) + 36, &s, 4);
  const unsigned char half[] = {0x00, 0x38};
  std::memcpy(w.row(0), half, 2);
  for (int e = 0; e < 32; ++e) w.row(0)[2 + e] = static_cast<std::byte>(3 + e % 2);
  w.by_row = false;
  with_all("linear", {{x, w}, Tensor(kF32, 1, 1)}, [](Tensor& out) { EXPECT_EQ(out.at(0, 0), 112); });
}

}  // namespace
}  // namespace terrace
