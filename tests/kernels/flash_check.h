// What every kernel of flash attention is held to: the reference in double, the same bits however the work is shared,
// and no trace of what a row may not see.
#pragma once

#include "kernels/matmul_check.h"
#include "terrace/kernels/cpu/flash.h"

namespace terrace::flash_check {

using matmul_check::rounded;
using matmul_check::same_bits;
using matmul_check::Stored;
using matmul_check::Tensor;

struct Case {
  i64 batches, heads, groups, size, n, m;
  bool causal = false;
  bool outliers = false;  ///< one element in 200 is a hundred times as wide
  double uncertain = 1;   ///< times the tolerance
  bool half = false;      ///< operands in bf16, but lse
};

inline std::string describe(const Case& c) {
  std::string s;
  for (i64 x : {c.batches, c.heads, c.groups, c.size, c.n, c.m}) s += std::to_string(x) + " ";
  return s + (c.causal ? "causal" : "full") + " (batches, heads, groups, size, queries, keys)";
}

/// The operands of both directions; what the kernels have not written is NaN.
struct Operands {
  Case c;
  Tensor q, k, v, o, lse, d_o, dq, dk, dv;
  explicit Operands(const Case& given, std::vector<i64> gaps = {})
      : c(given),
        q(queries(gaps)),
        k(keys(gaps)),
        v(keys(gaps)),
        o(queries(gaps)),
        lse({c.batches, c.heads, c.n}, gaps),
        d_o(queries(gaps)),
        dq(queries(gaps)),
        dk(keys(gaps)),
        dv(keys(gaps)) {
    std::mt19937 rng(static_cast<unsigned>(c.n * 7919 + c.m * 131 + c.size));
    for (Tensor* t : {&q, &k, &v, &d_o}) {
      std::normal_distribution<float> normal(0, 1);
      for (i64 i = 0; i < t->rows(); ++i)
        for (i64 e = 0; e < t->dims.back(); ++e)
          t->row(i)[e] = normal(rng) + (c.outliers && rng() % 200 == 0 ? 100 * normal(rng) : 0.0f);
      if (c.half)
        for (float& x : t->floats) x = rounded(x);
    }
  }

 private:
  Tensor queries(const std::vector<i64>& gaps) const { return Tensor({c.batches, c.n, c.heads * c.size}, gaps); }
  Tensor keys(const std::vector<i64>& gaps) const { return Tensor({c.batches, c.m, c.groups * c.size}, gaps); }
};

/// Runs `fn` with guarded scratch, the last worker first; a worker alone if `only` is not negative.
template <class Fn>
void run(Fn fn, const Case& c, const std::vector<TensorView>& in, const std::vector<TensorView>& out, u64 each,
         int workers, int only = -1) {
  const i64 ints[4] = {c.heads, c.groups, c.causal, 0};
  const double floats[4] = {1 / std::sqrt(static_cast<double>(c.size))};
  std::vector<std::byte> scratch(each * static_cast<u64>(workers) + 128, std::byte{0xff});
  const u64 skew = 64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
  KernelArgs a;
  a.in = in.data();
  a.out = out.data();
  a.ints = ints;
  a.floats = floats;
  a.scratch = scratch.data() + skew;
  a.scratch_bytes = each * static_cast<u64>(workers);
  a.workers = workers;
  const long before = testing::allocations();
  for (a.worker = workers - 1; a.worker >= 0; --a.worker)
    if (only < 0 || a.worker == only) fn(a);
  const long after = each > 0 ? testing::allocations() : before;  // the reference may
  ASSERT_EQ(after, before) << "a kernel allocates";
  for (u64 i = 0; i < skew; ++i) ASSERT_EQ(scratch[i], std::byte{0xff}) << "before scratch";
  for (u64 i = skew + a.scratch_bytes; i < scratch.size(); ++i) ASSERT_EQ(scratch[i], std::byte{0xff}) << "beyond it";
}
template <class Fn>
void forward(Fn fn, Operands& x, int workers = 1, int only = -1) {
  const char f = x.c.half ? 'h' : 'f';
  Stored q(x.q, f), k(x.k, f), v(x.v, f), o(x.o, f);
  const u64 scratch = x.c.half ? flash_bf16_scratch(x.c.size, x.c.n, x.c.m) : flash_scratch(x.c.size, x.c.n, x.c.m);
  run(fn, x.c, {q.view(), k.view(), v.view()}, {o.view(), x.lse.view()}, scratch, workers, only);
  o.fetch();
}
template <class Fn>
void backward(Fn fn, Operands& x, int workers = 1, int only = -1) {
  const char f = x.c.half ? 'h' : 'f';
  Stored q(x.q, f), k(x.k, f), v(x.v, f), o(x.o, f), d_o(x.d_o, f), dq(x.dq, f), dk(x.dk, f), dv(x.dv, f);
  const u64 scratch = x.c.half ? flash_bf16_grad_scratch(x.c.size, x.c.n) : flash_grad_scratch(x.c.size, x.c.n);
  run(fn, x.c, {q.view(), k.view(), v.view(), o.view(), x.lse.view(), d_o.view()}, {dq.view(), dk.view(), dv.view()},
      scratch, workers, only);
  for (Stored* t : {&dq, &dk, &dv}) t->fetch();
}

/// Numbers in double, packed, in a tensor's shape.
struct Doubles {
  std::vector<double> numbers;
  TensorView view;
  explicit Doubles(Tensor& like) : view(like.view()) {
    view.dtype = DType::f64;
    i64 count = 8;
    for (int a = view.rank - 1; a >= 0; --a) {
      view.stride[a] = count;
      count *= view.dim[a];
    }
    numbers.resize(static_cast<std::size_t>(count / 8));
    view.data = reinterpret_cast<std::byte*>(numbers.data());
  }
};

inline void expect_near(Tensor& got, const Doubles& want, double tolerance, const char* what) {
  double largest = 0;
  for (double x : want.numbers)
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
  if (largest < 1e-9) largest = 10;  // with one key, gradients of q and k are sums that cancel
  for (i64 i = 0; i < got.rows(); ++i)
    for (i64 e = 0; e < got.dims.back(); ++e) {
      const double g = got.row(i)[e], w = want.numbers[static_cast<std::size_t>(i * got.dims.back() + e)];
      if (std::isinf(w))
        ASSERT_EQ(g, w) << what << " row " << i;
      else
        ASSERT_LE(std::fabs(g - w), tolerance * largest) << what << " row " << i << " column " << e << ": " << g;
    }
}

/// What was not written is still NaN: between rows, and in what other workers own.
inline void join(const Tensor& part, Tensor& all, const char* what) {
  for (std::size_t i = 0; i < part.floats.size(); ++i) {
    if (std::isnan(part.floats[i])) continue;
    ASSERT_TRUE(std::isnan(all.floats[i])) << what << " is written by two workers";
    all.floats[i] = part.floats[i];
  }
}

/// Both kernels of an instruction set.
struct Kernels {
  std::string isa;
  KernelFn attention, grad;
  double tolerance = 2e-6;  ///< of the largest element
  bool half = false;        ///< of bf16
};

inline double largest_of(const Doubles& x) {
  double largest = 0;
  for (double d : x.numbers)
    if (std::isfinite(d)) largest = std::max(largest, std::fabs(d));
  return largest;
}

/// What attention in bf16 may be off by: twice what it is without fusion, every tensor between two ops being rounded to
/// bf16, and one rounding of the result.
struct HalfBars {
  double o = 0, dq = 0, dk = 0, dv = 0;  ///< of the largest element
};
inline HalfBars half_bars(Operands& x, const Doubles& o, const Doubles& dq, const Doubles& dk, const Doubles& dv) {
  const Case& c = x.c;
  const auto round = [](double d) { return static_cast<double>(rounded(static_cast<float>(d))); };
  const auto dot = [&](const float* a, const float* b) {
    double s = 0;
    for (i64 e = 0; e < c.size; ++e) s += static_cast<double>(a[e]) * static_cast<double>(b[e]);
    return s;
  };
  std::vector<double> sums[3];
  for (std::size_t t = 0; t < 3; ++t) sums[t].resize((t == 0 ? dq : t == 1 ? dk : dv).numbers.size());
  double off_o = 0;
  const double scale = 1 / std::sqrt(static_cast<double>(c.size));
  for (i64 b = 0; b < c.batches; ++b)
    for (i64 h = 0; h < c.heads; ++h)
      for (i64 i = 0; i < c.n; ++i) {
        const i64 g = h / (c.heads / c.groups), keys = c.causal ? std::clamp<i64>(i + 1 + c.m - c.n, 0, c.m) : c.m;
        const auto query = [&](Tensor& t) { return t.row(b * c.n + i) + h * c.size; };
        const auto key = [&](Tensor& t, i64 j) { return t.row(b * c.m + j) + g * c.size; };
        const auto at = [&](i64 rows, i64 i0, i64 heads, i64 h0) {
          return static_cast<std::size_t>(((b * rows + i0) * heads + h0) * c.size);
        };
        std::vector<double> p(static_cast<std::size_t>(keys));
        double top = -INFINITY, sum = 0, d = 0;
        for (i64 j = 0; j < keys; ++j)
          top = std::max(top, p[static_cast<std::size_t>(j)] = round(scale * round(dot(query(x.q), key(x.k, j)))));
        for (double& s : p) sum += s = std::exp(s - top);
        for (double& s : p) s = round(s / sum);
        for (i64 e = 0; e < c.size; ++e) {
          double s = 0;
          for (i64 j = 0; j < keys; ++j) s += p[static_cast<std::size_t>(j)] * static_cast<double>(key(x.v, j)[e]);
          off_o =
              std::max(off_o, std::fabs(round(s) - o.numbers[at(c.n, i, c.heads, h) + static_cast<std::size_t>(e)]));
        }
        std::vector<double> dp(p.size());
        for (i64 j = 0; j < keys; ++j) {
          const auto k = static_cast<std::size_t>(j);
          dp[k] = round(dot(query(x.d_o), key(x.v, j)));
          d += dp[k] * p[k];
        }
        for (i64 j = 0; j < keys; ++j) {
          const auto k = static_cast<std::size_t>(j);
          const double ds = round(round(p[k] * (dp[k] - d)) * scale);
          for (i64 e = 0; e < c.size; ++e) {
            const auto el = static_cast<std::size_t>(e);
            sums[0][at(c.n, i, c.heads, h) + el] += ds * static_cast<double>(key(x.k, j)[e]);
            sums[1][at(c.m, j, c.groups, g) + el] += ds * static_cast<double>(query(x.q)[e]);
            sums[2][at(c.m, j, c.groups, g) + el] += p[k] * static_cast<double>(query(x.d_o)[e]);
          }
        }
      }
  double off[3] = {};
  for (std::size_t t = 0; t < 3; ++t) {
    const Doubles& want = t == 0 ? dq : t == 1 ? dk : dv;
    for (std::size_t i = 0; i < sums[t].size(); ++i)
      off[t] = std::max(off[t], std::fabs(round(sums[t][i]) - want.numbers[i]));
  }
  const auto bar = [](double by, const Doubles& want) { return 2 * by / std::max(largest_of(want), 1e-9) + 0x1p-8; };
  return {bar(off_o, o), bar(off[0], dq), bar(off[1], dk), bar(off[2], dv)};
}

inline void expect_workers(const Kernels& k, const Operands& fresh, const Operands& one) {
  for (const int workers : {1, 2, 5}) {
    Operands all = fresh;
    all.o = one.o;
    all.lse = one.lse;
    Operands joined = fresh;
    for (int w = 0; w < workers; ++w) {
      Operands part = fresh;
      forward(k.attention, part, workers, w);
      join(part.o, joined.o, "o");
      join(part.lse, joined.lse, "lse");
      part = all;
      backward(k.grad, part, workers, w);
      join(part.dq, joined.dq, "dq");
      join(part.dk, joined.dk, "dk");
      join(part.dv, joined.dv, "dv");
    }
    ASSERT_TRUE(same_bits(joined.o.floats, one.o.floats) && same_bits(joined.lse.floats, one.lse.floats)) << workers;
    ASSERT_TRUE(same_bits(joined.dq.floats, one.dq.floats) && same_bits(joined.dk.floats, one.dk.floats) &&
                same_bits(joined.dv.floats, one.dv.floats))
        << workers << " workers";
  }
}

using All = std::vector<Kernels>;

inline void expect_case(const All& all, Case c, std::vector<i64> gaps = {}) {
  SCOPED_TRACE(describe(c));
  c.half = all.front().half;
  const Operands fresh(c, std::move(gaps));
  Operands oracle = fresh;
  Doubles o(oracle.o), lse(oracle.lse), dq(oracle.dq), dk(oracle.dk), dv(oracle.dv);
  run(reference::flash_attention, c, {oracle.q.view(), oracle.k.view(), oracle.v.view()}, {o.view, lse.view}, 0, 1);
  run(reference::flash_attention_grad, c,
      {oracle.q.view(), oracle.k.view(), oracle.v.view(), o.view, lse.view, oracle.d_o.view()},
      {dq.view, dk.view, dv.view}, 0, 1);
  const HalfBars half = c.half ? half_bars(oracle, o, dq, dk, dv) : HalfBars{};
  for (const Kernels& k : all) {
    SCOPED_TRACE(k.isa);
    const double tolerance = k.tolerance * c.uncertain;
    Operands x = fresh;
    forward(k.attention, x);
    expect_near(x.o, o, c.half ? half.o : tolerance, "o");
    expect_near(x.lse, lse, tolerance, "lse");
    backward(k.grad, x);
    expect_near(x.dq, dq, c.half ? half.dq : tolerance, "dq");
    expect_near(x.dk, dk, c.half ? half.dk : tolerance, "dk");
    expect_near(x.dv, dv, c.half ? half.dv : tolerance, "dv");
    expect_workers(k, fresh, x);
  }
}

/// Around tiles, blocks and register rows; `most`: no case of more pairs and elements than that.
inline void expect_edges(const All& k, i64 most) {
  for (const bool causal : {false, true})
    for (const auto& [n, m, size] : {std::array<i64, 3>{1, 1, 1},
                                     {0, 70, 16},
                                     {70, 0, 16},
                                     {0, 0, 3},
                                     {1, 1, 64},
                                     {2, 3, 5},
                                     {1, 70, 16},
                                     {70, 1, 16},
                                     {13, 12, 33},
                                     {31, 33, 48},
                                     {40, 9, 32},
                                     {9, 40, 31},
                                     {63, 64, 17},
                                     {64, 63, 80},
                                     {65, 65, 64},
                                     {64, 128, 64},
                                     {127, 129, 40},
                                     {129, 127, 64},
                                     {200, 66, 8},
                                     {66, 200, 96},
                                     {70, 128, 128},
                                     {20, 260, 256},
                                     {257, 255, 32},
                                     {40, 70, 255},
                                     {270, 20, 256},
                                     {260, 100, 256}})
      if (n * m * size <= most) expect_case(k, {1, 2, 1, size, n, m, causal});
}

inline void expect_heads(const All& k) {
  for (const bool causal : {false, true}) {
    expect_case(k, {3, 2, 2, 16, 20, 20, causal});
    expect_case(k, {2, 6, 2, 24, 30, 41, causal});
    expect_case(k, {1, 4, 1, 32, 17, 17, causal});
    expect_case(k, {2, 4, 2, 7, 33, 20, causal}, {13, 5});
    expect_case(k, {2, 3, 3, 16, 70, 66, causal}, {100, 3});
  }
}

inline void expect_large_scores(const All& k, i64 n) {
  // Scores reach thousands, so that an exponential is as uncertain as its argument: thousands of roundings.
  for (const bool causal : {false, true}) expect_case(k, {1, 2, 2, 64, n, n, causal, true, 1000});
}

inline bool same_rows(Tensor& a, Tensor& b, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i)
    if (std::memcmp(a.row(i), b.row(i), static_cast<std::size_t>(a.dims.back()) * 4) != 0) return false;
  return true;
}

/// NaN (in bf16: other numbers) in keys that a query does not see, and in queries that do not see a key, leave no
/// trace, nor does a second run.
inline void expect_causal(const Kernels& k, i64 n, i64 m, i64 border) {
  Case c{1, 1, 1, 16, n, m, true};
  c.half = k.half;
  const float other = k.half ? 1024.0f : NAN;
  SCOPED_TRACE(describe(c) + " from key " + std::to_string(border));
  Operands clean(c), again(c);
  for (Operands* x : {&clean, &again}) {
    forward(k.attention, *x);
    backward(k.grad, *x);
  }
  ASSERT_TRUE(same_bits(clean.o.floats, again.o.floats) && same_bits(clean.dk.floats, again.dk.floats));
  const i64 first = std::clamp<i64>(border + n - m, 0, n);  // the first query that sees key `border`
  Operands keys = clean, queries = clean;
  for (Tensor* t : {&keys.k, &keys.v})
    for (i64 j = border; j < m; ++j) std::fill_n(t->row(j), c.size, other);
  forward(k.attention, keys);
  ASSERT_TRUE(same_rows(keys.o, clean.o, 0, first));
  backward(k.grad, keys);
  ASSERT_TRUE(same_rows(keys.dq, clean.dq, 0, first));
  for (Tensor* t : {&queries.q, &queries.d_o, &queries.o})
    for (i64 i = 0; i < first; ++i) std::fill_n(t->row(i), c.size, other);
  std::fill_n(queries.lse.row(0), first, other);
  backward(k.grad, queries);
  ASSERT_TRUE(same_rows(queries.dk, clean.dk, border, m) && same_rows(queries.dv, clean.dv, border, m));
  ASSERT_TRUE(same_rows(queries.dq, clean.dq, first, n));
}

}  // namespace terrace::flash_check
