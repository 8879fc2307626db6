// What every training kernel is held to: the reference within a tolerance; the same bits however many workers it has
// and wherever rows lie; nothing written between rows; no allocation.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "support/allocations.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/reference/element.h"
#include "terrace/ops/ops.h"

namespace terrace::training_check {

using Dims = std::vector<i64>;

/// A dense tensor of up to four axes with `gap` bytes behind every row and every outer slice. All begin as 0xff, a NaN.
struct Operand {
  DType dtype = DType::f32;
  Dims dims;
  i64 gap = 0;
  std::vector<std::byte> bytes;

  Operand(DType t, Dims d, i64 between = 0) : dtype(t), dims(std::move(d)), gap(between) {
    const TensorView v = layout();
    i64 size = v.rank > 1 ? v.dim[0] * v.stride[0] : v.dim[0] * v.stride[0] + gap;
    bytes.assign(static_cast<std::size_t>(size), std::byte{0xff});
  }
  TensorView view() {
    TensorView v = layout();
    v.data = bytes.data();
    return v;
  }
  i64 count() const {
    i64 n = 1;
    for (i64 d : dims) n *= d;
    return n;
  }
  double at(i64 i) { return reference::at(view(), i); }
  void put(i64 i, double x) {
    const auto n = static_cast<i32>(x);
    if (dtype == DType::i32)
      std::memcpy(entry_at(view(), i), &n, 4);
    else
      reference::put_at(view(), i, x);
  }
  /// The same numbers with other gaps.
  Operand with_gap(i64 between) {
    Operand o(dtype, dims, between);
    const TensorView from = view(), to = o.view();
    if (count() > 0)
      for (i64 r = 0; r < rows_of(from); ++r)
        std::memcpy(row_at(to, r), row_at(from, r), static_cast<std::size_t>(bytes_of_row(from)));
    return o;
  }

 private:
  TensorView layout() const {
    TensorView v;
    v.dtype = dtype;
    v.rank = static_cast<int>(dims.size());
    for (int a = 0; a < v.rank; ++a) v.dim[a] = dims[static_cast<std::size_t>(a)];
    v.stride[v.rank - 1] = static_cast<i64>(dense_bytes(dtype));
    for (int a = v.rank - 2; a >= 0; --a) v.stride[a] = v.dim[a + 1] * v.stride[a + 1] + gap;
    return v;
  }
};

inline Operand random_operand(std::mt19937& rng, Dims dims, double width = 1, i64 gap = 8) {
  Operand o(DType::f32, std::move(dims), gap);
  std::normal_distribution<double> normal(0, width);
  for (i64 i = 0; i < o.count(); ++i) o.put(i, normal(rng));
  return o;
}
inline Operand filled(DType t, Dims dims, const std::function<double(i64)>& f, i64 gap = 0) {
  Operand o(t, std::move(dims), gap);
  for (i64 i = 0; i < o.count(); ++i) o.put(i, f(i));
  return o;
}
/// A copy in bf16, with other gaps.
inline Operand halved(Operand x, i64 gap = 6) {
  return filled(
      DType::bf16, x.dims, [&](i64 i) { return x.at(i); }, gap);
}
inline Operand empty(Dims dims, DType t = DType::f32, i64 gap = 12) { return Operand(t, std::move(dims), gap); }

struct Case {
  std::vector<Operand> in, out;
  i64 ints[4] = {};
  double floats[4] = {};
  double tolerance = 0;  ///< of max(1, |x|); 0: the same bytes
  int in_place = 0;      ///< outputs that are the inputs of the same index
  void set_floats(std::initializer_list<double> x) { std::copy(x.begin(), x.end(), floats); }
};

/// The outputs after all workers, the last first, or after one of them alone. Output 0 lies where input `under` does,
/// if that is one.
inline std::vector<Operand> apply(KernelFn fn, Case c, int workers, int alone = -1, int under = -1) {
  for (int i = 0; i < c.in_place; ++i) c.out[static_cast<std::size_t>(i)] = c.in[static_cast<std::size_t>(i)];
  std::vector<TensorView> in, out;
  for (Operand& o : c.in) in.push_back(o.view());
  for (Operand& o : c.out) out.push_back(o.view());
  for (int i = 0; i < c.in_place; ++i) in[static_cast<std::size_t>(i)] = out[static_cast<std::size_t>(i)];
  if (under >= 0) {
    c.out[0] = c.in[static_cast<std::size_t>(under)];
    out[0] = c.out[0].view();
    in[static_cast<std::size_t>(under)] = out[0];
  }
  KernelArgs a;
  a.in = in.data();
  a.out = out.data();
  a.ints = c.ints;
  a.floats = c.floats;
  a.workers = workers;
  const long before = testing::allocations();
  for (a.worker = workers - 1; a.worker >= 0; --a.worker)
    if (alone < 0 || alone == a.worker) fn(a);
  EXPECT_EQ(testing::allocations(), before) << "a kernel allocates";
  return c.out;
}

inline void expect_near(Operand& got, Operand& want, double tolerance) {
  for (i64 i = 0; i < want.count(); ++i) {
    const double g = got.at(i), w = want.at(i);
    if (std::isnan(w)) {
      ASSERT_TRUE(std::isnan(g)) << "element " << i;
    } else if (g != w) {
      ASSERT_LE(std::fabs(g - w), tolerance * std::max(1.0, std::fabs(w))) << "element " << i << ": " << g << " " << w;
    }
  }
}

inline void expect_untouched_gaps(Operand& got) {
  Operand clean = got.with_gap(0).with_gap(got.gap);
  ASSERT_EQ(got.bytes, clean.bytes) << "written between rows";
}

/// No byte is changed by two workers.
inline void expect_own_parts(KernelFn fn, const Case& c, int workers) {
  const std::vector<Operand> before = apply(fn, c, workers, workers);  // by nobody
  std::vector<Operand> first = before;
  for (int w = 0; w < workers; ++w) {
    const std::vector<Operand> after = apply(fn, c, workers, w);
    for (std::size_t o = 0; o < after.size(); ++o)
      for (std::size_t b = 0; b < after[o].bytes.size(); ++b) {
        if (after[o].bytes[b] == before[o].bytes[b]) continue;
        ASSERT_EQ(first[o].bytes[b], before[o].bytes[b]) << "byte " << b << " has two workers";
        first[o].bytes[b] = after[o].bytes[b];
      }
  }
}

/// The same bits where output 0 takes over the bytes of an input, as the op says that it may.
inline void expect_overlay(const Kernel& kernel, const Case& packed) {
  const u32 allowed = ops::find(kernel.op)->overlay;
  for (std::size_t i = 0; i < packed.in.size(); ++i) {
    if (!(allowed >> i & 1) || packed.in[i].dtype != packed.out[0].dtype || packed.in[i].dims != packed.out[0].dims)
      continue;
    const std::vector<Operand> apart = apply(kernel.fn, packed, 1);
    for (const int workers : {1, 2, 3})
      ASSERT_EQ(apply(kernel.fn, packed, workers, -1, static_cast<int>(i))[0].bytes, apart[0].bytes)
          << "over input " << i << ", " << workers << " workers";
  }
}

inline void expect_case(const Kernel& kernel, KernelFn oracle, const Case& c) {
  std::string shape;
  for (const Operand& o : c.in) {
    shape += " [";
    for (i64 d : o.dims) shape += " " + std::to_string(d);
    shape += " ]";
  }
  SCOPED_TRACE(kernel.name + shape);
  std::vector<Operand> want = apply(oracle, c, 1), one = apply(kernel.fn, c, 1);
  for (std::size_t i = 0; i < want.size(); ++i) {
    SCOPED_TRACE("output " + std::to_string(i));
    if (c.tolerance > 0)
      expect_near(one[i], want[i], c.tolerance);
    else
      ASSERT_EQ(one[i].bytes, want[i].bytes);
    expect_untouched_gaps(one[i]);
  }
  for (const int workers : {2, 3, 7}) {
    const std::vector<Operand> many = apply(kernel.fn, c, workers);
    for (std::size_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i].bytes, one[i].bytes) << workers << " workers";
  }
  expect_own_parts(kernel.fn, c, 3);
  Case packed = c;
  for (std::vector<Operand>* all : {&packed.in, &packed.out})
    for (Operand& o : *all) o = o.with_gap(0);
  std::vector<Operand> same = apply(kernel.fn, packed, 2);
  for (std::size_t i = 0; i < same.size(); ++i)
    ASSERT_EQ(same[i].bytes, one[i].with_gap(0).bytes) << "packed rows give other bits";
  expect_overlay(kernel, packed);
}

/// The case with every kernel of `table` for `op` that takes its formats.
inline void expect_kernels(const KernelTable& table, std::string_view op, const Case& c) {
  KernelTable oracle;
  register_reference(oracle);
  const Kernel* reference = oracle.find(op, {}, Isa::reference);
  ASSERT_NE(reference, nullptr) << op;
  std::vector<Format> formats;
  for (const std::vector<Operand>* all : {&c.in, &c.out})
    for (const Operand& o : *all) formats.push_back({o.dtype, Layout::dense});
  int found = 0;
  for (const Kernel& k : table.all()) {
    if (k.op != op || k.isa == Isa::reference || (!k.formats.empty() && k.formats != formats)) continue;
    ++found;
    expect_case(k, reference->fn, c);
  }
  {
    Case packed = c;
    for (std::vector<Operand>* all : {&packed.in, &packed.out})
      for (Operand& o : *all) o = o.with_gap(0);
    expect_overlay(*reference, packed);
  }
  EXPECT_GT(found, 0) << "no kernel of " << op;
}

}  // namespace terrace::training_check
