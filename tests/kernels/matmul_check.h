// What every kernel of matmul is held to: the stated order of additions bit for bit, however the work is cut; the
// reference; and nothing touched that is not its own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "support/allocations.h"
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/half.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::matmul_check {

/// Floats with gaps of NaN between rows, and between matrices, that ends where the last row does: address sanitizers
/// see any read beyond it.
struct Tensor {
  std::vector<i64> dims, strides;  ///< in floats
  std::vector<float> floats;

  /// `gaps[a]`: floats behind what axis a steps over.
  Tensor(std::vector<i64> extents, std::vector<i64> gaps = {}) : dims(std::move(extents)), strides(dims.size(), 1) {
    gaps.resize(dims.size());
    i64 total = dims.empty() ? 0 : dims.back();
    for (std::size_t a = dims.size() - 1; a-- > 0;) {
      strides[a] = strides[a + 1] * dims[a + 1] + gaps[a];
      total = dims[a] == 0 || total == 0 ? 0 : total + (dims[a] - 1) * strides[a];
    }
    floats.assign(static_cast<std::size_t>(total), NAN);
  }
  TensorView view() {
    TensorView v;
    v.data = reinterpret_cast<std::byte*>(floats.data());
    v.rank = static_cast<int>(dims.size());
    for (std::size_t a = 0; a < dims.size(); ++a) {
      v.dim[a] = dims[a];
      v.stride[a] = 4 * strides[a];
    }
    return v;
  }
  i64 rows() const {
    i64 n = 1;
    for (std::size_t a = 0; a + 1 < dims.size(); ++a) n *= dims[a];
    return n;
  }
  /// Row i over all leading axes.
  float* row(i64 i) {
    i64 at = 0;
    for (std::size_t a = dims.size() - 1; a-- > 0; i /= dims[a]) at += i % dims[a] * strides[a];
    return floats.data() + at;
  }
  void fill(std::mt19937& rng) {
    std::uniform_real_distribution<float> real(-2, 2);
    for (i64 i = 0; i < rows(); ++i)
      for (i64 c = 0; c < dims.back(); ++c) row(i)[c] = real(rng);
  }
};

/// A tensor's numbers as a kernel gets them: the floats themselves, or a copy in bf16 with the same gaps.
struct Stored {
  Tensor& of;
  bool half;
  std::vector<std::uint16_t> halves{};
  Stored(Tensor& t, char format) : of(t), half(format == 'h') {
    if (half)
      for (const float f : t.floats) halves.push_back(float_to_bf16(f));
  }
  TensorView view() {
    TensorView v = of.view();
    if (!half) return v;
    v.data = reinterpret_cast<std::byte*>(halves.data());
    v.dtype = DType::bf16;
    for (int a = 0; a < v.rank; ++a) v.stride[a] /= 2;
    return v;
  }
  /// What a kernel wrote.
  void fetch() {
    for (std::size_t i = 0; i < halves.size(); ++i) of.floats[i] = bf16_to_float(halves[i]);
  }
};

/// How a kernel adds: multiply-adds rounded twice or once, or pairs, in an order that is the processor's.
enum class Order : std::uint8_t { plain, fused, pairs };

struct Case {
  i64 m, n, k;
  bool ta = false, tb = false, flat = false;
  std::vector<i64> batch{};  ///< leading extents; flattened: those into which the rows of a and b are cut
  std::vector<i64> gaps{};   ///< of each operand, as Tensor takes them
  std::string formats = "fff";
  bool rounds() const { return formats.find('h') != std::string::npos; }
};
inline float rounded(float x) { return bf16_to_float(float_to_bf16(x)); }

/// [batch.., rows, columns], or with `flat` [batch.., rows / batch, columns].
inline Tensor make(const Case& c, i64 rows, i64 columns) {
  std::vector<i64> dims = c.batch;
  if (c.flat)
    for (i64 x : c.batch) rows /= x;
  dims.push_back(rows);
  dims.push_back(columns);
  return Tensor(dims, c.gaps);
}

struct Operands {
  Case c;
  Tensor a, b, out;
  i64 batch = 1;
  explicit Operands(const Case& given)
      : c(given),
        a(c.ta ? make(c, c.k, c.m) : make(c, c.m, c.k)),
        b(c.tb ? make(c, c.n, c.k) : make(c, c.k, c.n)),
        out(c.flat && c.ta ? Tensor({c.m, c.n}, {1}) : make(c, c.m, c.n)) {
    for (i64 x : c.batch) batch *= c.flat ? 1 : x;
    std::mt19937 rng(static_cast<unsigned>(c.m * 7919 + c.n * 131 + c.k));
    a.fill(rng);
    b.fill(rng);
  }
  float a_at(i64 i, i64 r, i64 t) { return c.ta ? a.row(i * c.k + t)[r] : a.row(i * c.m + r)[t]; }
  float b_at(i64 i, i64 t, i64 j) { return c.tb ? b.row(i * c.n + j)[t] : b.row(i * c.k + t)[j]; }
};

/// How a kernel is called.
struct How {
  int workers = 1;
  u64 cache = 1 << 20;
  int only = -1;  ///< the one worker that runs
};

inline void run(KernelFn fn, const TensorView& a, const TensorView& b, const TensorView& out, const Case& c, How how) {
  const TensorView in[2] = {a, b};
  const i64 ints[4] = {c.ta, c.tb, c.flat, 0};
  const u64 sums = out.dtype == DType::bf16 ? matmul_sums(c.m, c.n, c.k) : 0;
  const u64 each = matmul_scratch(c.n, c.k) + sums, room = each * static_cast<u64>(how.workers);
  ASSERT_EQ(each % 64, 0u);
  std::vector<std::byte> scratch(room + 128, std::byte{0xff});  // NaN, in case it is read before it is written
  const u64 skew = 64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
  KernelArgs args;
  args.in = in;
  args.out = &out;
  args.ints = ints;
  args.scratch = scratch.data() + skew;
  args.scratch_bytes = room;
  args.workers = how.workers;
  args.core_cache_bytes = how.cache;
  const long before = testing::allocations();
  for (args.worker = how.workers - 1; args.worker >= 0; --args.worker) {
    if (how.only >= 0 && args.worker != how.only) continue;
    fn(args);
    for (u64 w = 0; how.only >= 0 && w < room; w += each)
      for (u64 i = 0; w != static_cast<u64>(how.only) * each && i < each; ++i)
        ASSERT_EQ(args.scratch[w + i], std::byte{0xff}) << "another worker's scratch";
  }
  ASSERT_EQ(testing::allocations(), before) << "a kernel allocates";
  for (u64 i = skew + room; i < scratch.size(); ++i) ASSERT_EQ(scratch[i], std::byte{0xff}) << "beyond scratch";
}

inline Tensor product(KernelFn fn, Operands& o, How how = {}) {
  Tensor out = o.out;
  Stored a(o.a, o.c.formats[0]), b(o.b, o.c.formats[1]), c(out, o.c.formats[2]);
  run(fn, a.view(), b.view(), c.view(), o.c, how);
  c.fetch();
  return out;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

/// The order of additions as matmul.h states it, one element after the other.
inline Tensor in_stated_order(Operands& o, Order order) {
  const auto factor = [&](float x) { return o.c.rounds() ? rounded(x) : x; };
  Tensor out = o.out;
  for (i64 i = 0; i < o.batch; ++i)
    for (i64 r = 0; r < o.c.m; ++r)
      for (i64 j = 0; j < o.c.n; ++j) {
        float sum = 0;
        for (i64 t0 = 0; t0 < o.c.k; t0 += kMatmulDepth) {
          float chain = 0;
          for (i64 t = t0; t < std::min(o.c.k, t0 + kMatmulDepth); ++t) {
            const float x = factor(o.a_at(i, r, t)), y = factor(o.b_at(i, t, j));
            chain = order == Order::fused ? std::fma(x, y, chain) : x * y + chain;
          }
          sum = t0 == 0 ? chain : sum + chain;
        }
        out.row(i * o.c.m + r)[j] = o.c.formats[2] == 'h' ? rounded(sum) : sum;
      }
  return out;
}

inline void expect_near_reference(Operands& o, Tensor& got) {
  Tensor want = product(reference::matmul, o);
  for (i64 i = 0; i < want.rows(); ++i)
    for (i64 j = 0; j < o.c.n; ++j)
      ASSERT_NEAR(
          got.row(i)[j], want.row(i)[j],
          5e-7 * static_cast<double>(o.c.k) + 1e-6 + (o.c.formats[2] == 'h' ? 0x1p-7 : 0) * std::fabs(want.row(i)[j]));
}

/// Rows and columns of a matrix that are no multiple of anything give the whole's bits.
inline void expect_slices(KernelFn fn, Operands& o, const Tensor& whole) {
  if (o.c.m < 3 || o.c.n < 3 || !o.c.batch.empty()) return;
  const i64 r0 = o.c.m / 3, r1 = o.c.m - 1, c0 = 1, c1 = o.c.n - o.c.n / 4;
  Tensor out = o.out;
  Stored a(o.a, o.c.formats[0]), b(o.b, o.c.formats[1]), c(out, o.c.formats[2]);
  const auto run_slice = [&](i64 ra, i64 rb, i64 ca, i64 cb) {
    Case part = o.c;
    part.m = rb - ra;
    part.n = cb - ca;
    run(fn, slice(a.view(), o.c.ta ? 1 : 0, ra, rb), slice(b.view(), o.c.tb ? 0 : 1, ca, cb),
        slice(slice(c.view(), 0, ra, rb), 1, ca, cb), part, {2});
  };
  for (const auto& [ra, rb] : {std::array<i64, 2>{0, r0}, {r0, r1}, {r1, o.c.m}})
    for (const auto& [ca, cb] : {std::array<i64, 2>{0, c0}, {c0, c1}, {c1, o.c.n}}) run_slice(ra, rb, ca, cb);
  c.fetch();
  ASSERT_TRUE(same_bits(out.floats, whole.floats)) << "in slices";
}

/// Each element of the result is written by one worker, and nothing else is.
inline void expect_owners(KernelFn fn, Operands& o, const Tensor& whole, int workers) {
  Tensor joined = o.out;
  for (int w = 0; w < workers; ++w) {
    Tensor out = product(fn, o, {workers, 1 << 20, w});
    for (std::size_t i = 0; i < out.floats.size(); ++i) {
      if (std::isnan(out.floats[i])) continue;
      ASSERT_TRUE(std::isnan(joined.floats[i])) << "written by two of " << workers << " workers";
      joined.floats[i] = out.floats[i];
    }
  }
  ASSERT_TRUE(same_bits(joined.floats, whole.floats)) << workers << " workers, one by one";
}

inline std::string describe(const Case& c) {
  std::string s = std::to_string(c.m) + " x " + std::to_string(c.n) + " x " + std::to_string(c.k) +
                  (c.ta ? " T" : " N") + (c.tb ? "T" : "N") + (c.flat ? " flat " : " ") + c.formats;
  for (i64 x : c.batch) s += " of " + std::to_string(x);
  return s;
}

inline void expect_case(KernelFn fn, Order order, const Case& c) {
  SCOPED_TRACE(describe(c));
  Operands o(c);
  Tensor one = product(fn, o);
  // NaN between rows must stay there, so this sees all that is written.
  if (order != Order::pairs) {
    ASSERT_TRUE(same_bits(one.floats, in_stated_order(o, order).floats)) << "not the stated order";
  }
  expect_near_reference(o, one);
  for (const int workers : {2, 3, 7})
    ASSERT_TRUE(same_bits(product(fn, o, {workers}).floats, one.floats)) << workers << " workers";
  for (const u64 cache : {u64{0}, u64{1} << 16})
    ASSERT_TRUE(same_bits(product(fn, o, {1, cache}).floats, one.floats)) << "cache of " << cache;
  expect_owners(fn, o, one, 3);
  expect_slices(fn, o, one);
}

/// In all four transpositions.
inline void expect_turned(KernelFn fn, Order order, Case c) {
  for (int t = 0; t < 4; ++t) {
    c.ta = (t & 1) != 0;
    c.tb = (t & 2) != 0;
    expect_case(fn, order, c);
  }
}

/// Around the sizes of tiles, panels and blocks. `most`: no case of more products than that.
inline void expect_edges(KernelFn fn, Order order, i64 most) {
  for (const auto& [m, n, k] : {std::array<i64, 3>{1, 1, 1},
                                {1, 33, 7},
                                {2, 15, 16},
                                {5, 16, 17},
                                {6, 17, 8},
                                {7, 31, 33},
                                {13, 32, 31},
                                {14, 64, 3},
                                {15, 8, 40},
                                {16, 7, 64},
                                {17, 65, 2},
                                {28, 50, 15},
                                {29, 9, 100},
                                {43, 96, 1},
                                {100, 1, 20},
                                {3, 129, 383},
                                {9, 20, 384},
                                {4, 40, 385},
                                {2, 5, 1153},
                                {8, 530, 12},
                                {16, 1100, 9},
                                {90, 70, 400},
                                {300, 30, 13}})
    if (m * n * k <= most) expect_turned(fn, order, {m, n, k, false, false, false, {}, {3}});
}

/// With bf16 among the operands; sizes around tiles, pairs and blocks of either depth.
inline void expect_formats(KernelFn fn, Order order, const std::string& formats, i64 most) {
  for (const auto& [m, n, k] : {std::array<i64, 3>{1, 1, 1},
                                {3, 33, 2},
                                {5, 16, 17},
                                {15, 31, 33},
                                {16, 64, 64},
                                {17, 65, 31},
                                {29, 9, 100},
                                {4, 40, 385},
                                {9, 20, 767},
                                {3, 50, 768},
                                {20, 33, 769},
                                {2, 5, 1601},
                                {17, 3, 800},
                                {16, 1100, 9},
                                {460, 33, 800}}) {
    Case c{m, n, k, false, false, false, {}, {3}};
    c.formats = formats;
    if (m * n * k > most) continue;
    c.tb = true;
    m* n* k > 200000 ? expect_case(fn, order, c) : expect_turned(fn, order, c);  // the large one is slow
  }
  for (const bool flat : {false, true}) {
    Case c{12, 24, 36, false, false, flat, {3}, {9, 5}};
    c.formats = formats;
    expect_turned(fn, order, c);
    c.k = c.flat ? 36 : 0;
    expect_turned(fn, order, c);
  }
}
/// Ties go to even, small parts are lost before they are multiplied, a NaN stays one.
inline void expect_rounding(KernelFn fn, const std::string& formats) {
  Case c{1, 1, 2};
  c.formats = formats;
  Operands o(c);
  const auto result = [&](float a0, float a1, float b0, float b1) {
    o.a.row(0)[0] = a0, o.a.row(0)[1] = a1, o.b.row(0)[0] = b0, o.b.row(1)[0] = b1;
    return product(fn, o).row(0)[0];
  };
  EXPECT_EQ(result(1 + 0x1p-8f, 0, 1, 0), 1.0f) << "a tie, down to the even";
  EXPECT_EQ(result(1 + 0x3p-8f, 0, 1, 0), 1 + 0x1p-6f) << "a tie, up to the even";
  EXPECT_EQ(result(0, 1, 0, 1 + 0x1.01p-8f), 1 + 0x1p-7f) << "above a tie";
  EXPECT_EQ(result(-1 - 0x1p-8f, 2, 1, 1.5f), 2.0f);
  EXPECT_TRUE(std::isnan(result(NAN, 1, 1, 1)));
  EXPECT_TRUE(std::isnan(result(1, 1, 1, NAN)));
  EXPECT_EQ(result(INFINITY, 1, 1, 1), INFINITY);
  EXPECT_EQ(result(3.4e38f, 0, 1, 0), INFINITY) << "beyond the largest bf16";
}

/// Nothing to add gives zeros; nothing to write is nothing.
inline void expect_empty(KernelFn fn, Order order) {
  for (const auto& [m, n, k] : {std::array<i64, 3>{5, 40, 0}, {0, 4, 4}, {4, 0, 4}, {4, 4, 0}, {0, 0, 0}})
    for (int t = 0; t < 4; ++t) {
      const bool ta = (t & 1) != 0, tb = (t & 2) != 0;
      expect_case(fn, order, {m, n, k, ta, tb, false, {}, {}});
      expect_case(fn, order, {m, n, k, ta, tb, true, {}, {}});
      expect_case(fn, order, {m, n, k, ta, tb, false, {3}, {}});
    }
  expect_case(fn, order, {4, 4, 4, false, false, false, {0}, {}});
  expect_case(fn, order, {4, 4, 4, false, false, false, {2, 0}, {}});
}

inline void expect_batches(KernelFn fn, Order order) {
  expect_turned(fn, order, {20, 33, 18, false, false, false, {5}, {}});
  expect_turned(fn, order, {20, 33, 18, false, false, false, {2}, {7, 2}});
  expect_turned(fn, order, {7, 12, 20, false, false, false, {3, 2}, {5, 9, 1}});
  expect_turned(fn, order, {1, 3, 2, false, false, false, {2, 7}, {}});
  expect_turned(fn, order, {64, 8, 30, false, false, false, {2}, {}});  // cut by rows
}

/// Flattened: rows evenly spaced, or not.
inline void expect_flat(KernelFn fn, Order order) {
  for (int gap = 0; gap < 3; ++gap) {
    const std::vector<i64> gaps = gap == 0   ? std::vector<i64>{}
                                  : gap == 1 ? std::vector<i64>{0, 5}
                                             : std::vector<i64>{9, 5};
    expect_turned(fn, order, {12, 24, 36, false, false, true, {3}, gaps});
    std::vector<i64> gaps4 = gaps;
    gaps4.push_back(gap);
    expect_turned(fn, order, {48, 36, 24, false, false, true, {2, 3}, gaps4});
  }
}

}  // namespace terrace::matmul_check
