// What every CPU kernel other than `linear` is held to: the reference within a tolerance, and the same bits however
// many workers and rows it is given.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "support/allocations.h"
#include "terrace/kernels/half.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/reference/element.h"

namespace terrace::cpu_check {

inline constexpr Format kF32{DType::f32, Layout::dense};
inline constexpr Format kF16{DType::f16, Layout::dense};
inline constexpr Format kI32{DType::i32, Layout::dense};
inline constexpr Format kQ8{DType::f32, Layout::q8_0};
inline constexpr Format kQ8a{DType::f32, Layout::q8a};

/// A matrix with `gap` bytes of 0xA5 between its rows.
struct Tensor {
  Format format;
  i64 rows = 0, columns = 0, packed = 0, stride = 0;
  std::vector<std::byte> bytes;
  bool by_row = true;  ///< row i belongs to row i of the result; else all of it to each

  Tensor(Format f, i64 n, i64 k, i64 gap = 0) : format(f), rows(n), columns(k) {
    packed = static_cast<i64>(row_bytes(f.dtype, f.layout, k));
    stride = packed + gap;
    bytes.assign(static_cast<std::size_t>(n * stride), std::byte{0xA5});
  }
  std::byte* row(i64 i) { return bytes.data() + i * stride; }
  TensorView view(i64 begin, i64 end) {
    TensorView v;
    v.data = bytes.data() + begin * stride;
    v.dtype = format.dtype;
    v.layout = format.layout;
    v.rank = 2;
    v.dim[0] = end - begin;
    v.dim[1] = columns;
    v.stride[0] = stride;
    v.stride[1] = format.dtype == DType::f16 ? 2 : 4;
    return v;
  }
  TensorView view() { return view(0, rows); }
  void put(i64 i, i64 c, float x) {
    if (format == kF16) {
      const std::uint16_t h = float_to_half(x);
      std::memcpy(row(i) + 2 * c, &h, 2);
    } else {
      std::memcpy(row(i) + 4 * c, &x, 4);
    }
  }
  double at(i64 i, i64 c) { return reference::element(view(), i, c); }
};

inline Tensor random_tensor(Format f, i64 n, i64 k, std::mt19937& rng, double width = 1, i64 gap = 0) {
  Tensor t(f, n, k, gap);
  std::normal_distribution<double> normal(0, width);
  for (i64 i = 0; i < n; ++i) {
    if (f.layout == Layout::dense) {
      for (i64 c = 0; c < k; ++c) t.put(i, c, static_cast<float>(normal(rng)));
    } else {
      for (i64 b = 0; b < t.packed; ++b) t.row(i)[b] = static_cast<std::byte>(rng() & 255u);
      if (f.layout == Layout::q8a) {
        for (i64 c = 0; c < k / 16; ++c) {
          const auto d = static_cast<float>(normal(rng) / 127);
          std::memcpy(t.row(i) + k + 4 * c, &d, 4);
        }
        continue;
      }
      const i64 block = t.packed / (k / kBlock);
      for (i64 b = 0; b < t.packed; b += block)
        for (i64 s = 0; s < (f.layout == Layout::q4_1 ? 2 : 1); ++s) {
          const std::uint16_t h = float_to_half(static_cast<float>(normal(rng) / 127));
          std::memcpy(t.row(i) + b + 2 * s, &h, 2);
        }
    }
  }
  return t;
}

/// One application, its symbol `pos` that of the first row.
struct Case {
  std::vector<Tensor> in;
  Tensor out;
  i64 ints[4] = {};
  double floats[4] = {};
  i64 pos = 0;
  double tolerance = 0;   ///< of max(1, |x|); 0: the same bytes
  bool in_place = false;  ///< input 0 is the result's own bytes
  i64 scratch_head = 0;   ///< head size, for attention's scratch
};

/// Rows [begin, end) of the case by `workers` workers, the last first.
inline void apply(KernelFn fn, Case& c, Tensor& out, i64 begin, i64 end, int workers) {
  std::vector<TensorView> in;
  for (Tensor& t : c.in) in.push_back(t.by_row ? t.view(begin, end) : t.view());
  const TensorView to = out.by_row ? out.view(begin, end) : out.view();
  if (c.in_place) in[0] = to;
  KernelArgs a;
  a.in = in.data();
  a.out = &to;
  a.ints = c.ints;
  a.floats = c.floats;
  a.sym[0] = c.pos + begin;
  // What ops/attention.cc promises; 0xff is a NaN in every format.
  const auto head = static_cast<u64>(c.scratch_head);
  const u64 each = head == 0 ? 0 : 2 * 64 * round_up(head, 16) * 4 + (16 << 10);
  std::vector<std::byte> scratch(each * static_cast<u64>(workers) + 64 + 64, std::byte{0xff});
  const u64 skew = 64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
  a.scratch = scratch.data() + skew;
  a.scratch_bytes = each * static_cast<u64>(workers);
  a.workers = workers;
  const long before = testing::allocations();
  for (a.worker = workers - 1; a.worker >= 0; --a.worker) fn(a);
  ASSERT_EQ(testing::allocations(), before) << "a kernel allocates";
  for (u64 i = skew + a.scratch_bytes; i < scratch.size(); ++i)
    ASSERT_EQ(scratch[i], std::byte{0xff}) << "beyond scratch";
}

inline void expect_near(Tensor& got, Tensor& want, double tolerance) {
  for (i64 i = 0; i < want.rows; ++i)
    for (i64 c = 0; c < want.columns; ++c) {
      const double g = got.at(i, c), w = want.at(i, c);
      if (std::isnan(w)) {
        ASSERT_TRUE(std::isnan(g)) << "row " << i << " column " << c;
      } else if (g != w) {
        ASSERT_LE(std::fabs(g - w), tolerance * std::max(1.0, std::fabs(w))) << "row " << i << " column " << c;
      }
    }
}

/// The first byte in which two results differ; -1 if there is none.
inline i64 first_difference(const Tensor& a, const Tensor& b) {
  for (std::size_t i = 0; i < a.bytes.size(); ++i)
    if (a.bytes[i] != b.bytes[i]) return static_cast<i64>(i);
  return -1;
}

inline void expect_case(const Kernel& kernel, KernelFn oracle, Case c) {
  SCOPED_TRACE(kernel.name + " n " + std::to_string(c.out.rows) + " k " + std::to_string(c.out.columns) + " pos " +
               std::to_string(c.pos));
  Tensor want = c.out, one = c.out;
  i64 n = 0;
  for (const Tensor& t : c.in)
    if (t.by_row) n = t.rows;
  apply(oracle, c, want, 0, n, 1);
  apply(kernel.fn, c, one, 0, n, 1);
  if (c.tolerance > 0)
    expect_near(one, want, c.tolerance);
  else
    ASSERT_EQ(first_difference(one, want), -1);
  for (i64 i = 0; i < one.rows; ++i)
    for (i64 b = one.packed; b < one.stride; ++b) ASSERT_EQ(one.row(i)[b], std::byte{0xA5}) << "between rows";
  for (const int workers : {2, 3, 7}) {
    Tensor many = c.out;
    apply(kernel.fn, c, many, 0, n, workers);
    ASSERT_EQ(first_difference(many, one), -1) << workers << " workers";
  }
  for (const i64 step : {i64{1}, i64{3}}) {
    Tensor parts = c.out;
    for (i64 i = 0; i < n; i += step) apply(kernel.fn, c, parts, i, std::min(n, i + step), 1);
    ASSERT_EQ(first_difference(parts, one), -1) << "rows by " << step;
  }
}

/// Every kernel of `table` for `op` against the reference; `make(kernel, check)` calls check with its cases.
template <class Make>
void expect_kernels(const KernelTable& table, std::string_view op, Make make) {
  KernelTable oracle;
  register_reference(oracle);
  const Kernel* reference = oracle.find(op, {}, Isa::reference);
  ASSERT_NE(reference, nullptr) << op;
  int found = 0;
  const auto is_bf16 = [](const Format& f) { return f.dtype == DType::bf16; };
  for (const Kernel& k : table.all())
    if (k.op == op && k.isa != Isa::reference && std::ranges::none_of(k.formats, is_bf16)) {
      ++found;
      make(k, [&](Case c) { expect_case(k, reference->fn, std::move(c)); });
    }
  EXPECT_GT(found, 0) << "no kernel of " << op;
}

}  // namespace terrace::cpu_check
