// What matmul with a weight is held to: what matmul is held to, over the floats that the weight stands for.
#pragma once

#include "kernels/linear_check.h"
#include "kernels/matmul_check.h"
#include "terrace/kernels/cpu/matmul_weights.h"

namespace terrace::matmul_weights_check {

using linear_check::blocks, linear_check::kF16, linear_check::Rows;
using matmul_check::Case, matmul_check::How, matmul_check::Order, matmul_check::Operands, matmul_check::same_bits,
    matmul_check::Tensor;

/// The operands of a case whose b is a weight; o.b has the same numbers in floats.
struct WeightOperands {
  Operands o;
  Rows w;
  WeightOperands(const Format& format, const Case& c)
      : o(c), w(format, c.tb ? c.n : c.k, c.tb ? c.k : c.n, format.layout == Layout::dense ? 6 : 10) {
    w.fill(static_cast<unsigned>(c.m + 31 * c.n + 977 * c.k));
    for (i64 r = 0; r < w.rows; ++r)
      for (i64 e = 0; e < w.columns; ++e) o.b.row(r)[e] = static_cast<float>(w.at(r, e));
  }
  Tensor product(KernelFn fn, How how = {}) {
    Tensor out = o.out;
    matmul_check::run(fn, o.a.view(), w.view(0, w.rows), out.view(), o.c, how);
    return out;
  }
};

/// Rows of op(a), and columns of op(b) where its format can be cut, give the whole's bits.
inline void expect_slices(KernelFn fn, WeightOperands& x, const Tensor& whole) {
  const Case& c = x.o.c;
  const i64 r = c.m / 3, columns = c.tb ? c.n / 2 : c.n / 2 / kBlock * kBlock;
  Tensor out = x.o.out;
  for (const auto& [ra, rb] : {std::array<i64, 2>{0, r}, {r, c.m}})
    for (const auto& [ca, cb] : {std::array<i64, 2>{0, columns}, {columns, c.n}}) {
      Case part = c;
      part.m = rb - ra;
      part.n = cb - ca;
      matmul_check::run(fn, slice(x.o.a.view(), c.ta ? 1 : 0, ra, rb),
                        slice(x.w.view(0, x.w.rows), c.tb ? 0 : 1, ca, cb),
                        slice(slice(out.view(), 0, ra, rb), 1, ca, cb), part, {2});
    }
  ASSERT_TRUE(same_bits(out.floats, whole.floats)) << "in slices";
}

inline void expect_case(KernelFn fn, Order order, const Format& format, const Case& c) {
  SCOPED_TRACE(matmul_check::describe(c));
  WeightOperands x(format, c);
  Tensor one = x.product(fn), reference = x.product(terrace::reference::matmul);
  ASSERT_TRUE(same_bits(one.floats, matmul_check::in_stated_order(x.o, order).floats)) << "not the stated order";
  for (i64 i = 0; i < c.m; ++i)
    for (i64 j = 0; j < c.n; ++j) {
      double sum = 0;  // of what is added
      for (i64 t = 0; t < c.k; ++t) sum += std::fabs(static_cast<double>(x.o.a_at(0, i, t) * x.o.b_at(0, t, j)));
      ASSERT_NEAR(one.row(i)[j], reference.row(i)[j], 1e-6 * sum + 1e-6);
    }
  for (const int workers : {2, 3, 7})
    ASSERT_TRUE(same_bits(x.product(fn, {workers}).floats, one.floats)) << workers << " workers";
  for (const u64 cache : {u64{0}, u64{1} << 16})
    ASSERT_TRUE(same_bits(x.product(fn, {1, cache}).floats, one.floats)) << "cache of " << cache;
  expect_slices(fn, x, one);
}

/// x w^T and dy w, a transposed or not, around the sizes of tiles, panels, chunks and blocks.
inline void expect_all(KernelFn fn, Order order, const Format& format) {
  for (const auto& [m, other, along] : {std::array<i64, 3>{1, 1, 32},
                                        {3, 7, 64},
                                        {5, 33, 96},
                                        {15, 16, 32},
                                        {30, 47, 416},
                                        {9, 130, 800},
                                        {2, 400, 64},
                                        {70, 5, 544}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        expect_case(fn, order, format, {m, tb ? other : along, tb ? along : other, ta, tb, true, {}, {3}});
  if (format.layout != Layout::dense) return;
  for (const auto& [m, n, k] : {std::array<i64, 3>{1, 1, 1}, {4, 9, 33}, {7, 45, 70}, {3, 100, 385}})
    for (const bool tb : {false, true}) expect_case(fn, order, format, {m, n, k, false, tb, true, {}, {1}});
}

}  // namespace terrace::matmul_weights_check
