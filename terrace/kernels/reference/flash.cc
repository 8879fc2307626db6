// flash_attention and its gradient, with all scores of a row at hand: the formulas as they stand in textbooks.
#include <algorithm>
#include <cmath>
#include <vector>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

/// One head of one batch element.
struct Head {
  const KernelArgs& a;
  i64 batch, head, group, d, n, m;
  double q(i64 i, i64 e) const { return element(a.in[0], batch * n + i, head * d + e); }
  double k(i64 j, i64 e) const { return element(a.in[1], batch * m + j, group * d + e); }
  double v(i64 j, i64 e) const { return element(a.in[2], batch * m + j, group * d + e); }
  i64 keys(i64 i) const { return a.ints[2] == 0 ? m : std::clamp<i64>(i + 1 + m - n, 0, m); }
  double score(i64 i, i64 j) const {
    double s = 0;
    for (i64 e = 0; e < d; ++e) s += q(i, e) * k(j, e);
    return s * a.floats[0];
  }
};

template <class F>
void each_head(const KernelArgs& a, F f) {
  const i64 h = a.ints[0], g = a.ints[1], d = columns_of(a.in[0]) / h;
  for (i64 b = 0; b < a.in[0].dim[0]; ++b)
    for (i64 j = 0; j < h; ++j) f(Head{a, b, j, j / (h / g), d, a.in[0].dim[1], a.in[1].dim[1]});
}

}  // namespace

void flash_attention(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_head(a, [&](const Head& x) {
    std::vector<double> p(static_cast<std::size_t>(x.m));
    for (i64 i = 0; i < x.n; ++i) {
      double top = -INFINITY, sum = 0;
      for (i64 j = 0; j < x.keys(i); ++j) top = std::max(top, p[static_cast<std::size_t>(j)] = x.score(i, j));
      for (i64 j = 0; j < x.keys(i); ++j)
        sum += p[static_cast<std::size_t>(j)] = std::exp(p[static_cast<std::size_t>(j)] - top);
      for (i64 e = 0; e < x.d; ++e) {
        double o = 0;
        for (i64 j = 0; j < x.keys(i); ++j) o += p[static_cast<std::size_t>(j)] / sum * x.v(j, e);
        put(a.out[0], x.batch * x.n + i, x.head * x.d + e, o);
      }
      put(a.out[1], x.batch * a.ints[0] + x.head, i, x.keys(i) == 0 ? -INFINITY : top + std::log(sum));
    }
  });
}

/// P = exp(S - lse), dV = P^T dO, dP = dO V^T, dS = P (dP - rowsum(dO O)), dQ = scale dS K, dK = scale dS^T Q.
void flash_attention_grad(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &o = a.in[3], &lse = a.in[4], &d_o = a.in[5];
  std::vector<double> sums[3];
  for (std::size_t t = 0; t < 3; ++t) sums[t].assign(static_cast<std::size_t>(count_of(a.out[t])), 0.0);
  each_head(a, [&](const Head& x) {
    const auto at = [&](std::size_t t, i64 row, i64 first, i64 e) -> double& {
      return sums[t][static_cast<std::size_t>(row * columns_of(a.out[t]) + first * x.d + e)];
    };
    for (i64 i = 0; i < x.n; ++i) {
      const i64 row = x.batch * x.n + i;
      double dot = 0;
      for (i64 e = 0; e < x.d; ++e) dot += element(o, row, x.head * x.d + e) * element(d_o, row, x.head * x.d + e);
      for (i64 j = 0; j < x.keys(i); ++j) {
        const double p = std::exp(x.score(i, j) - element(lse, x.batch * a.ints[0] + x.head, i));
        double dp = 0;
        for (i64 e = 0; e < x.d; ++e) dp += element(d_o, row, x.head * x.d + e) * x.v(j, e);
        const double ds = p * (dp - dot) * a.floats[0];
        for (i64 e = 0; e < x.d; ++e) {
          at(0, row, x.head, e) += ds * x.k(j, e);
          at(1, x.batch * x.m + j, x.group, e) += ds * x.q(i, e);
          at(2, x.batch * x.m + j, x.group, e) += p * element(d_o, row, x.head * x.d + e);
        }
      }
    }
  });
  for (std::size_t t = 0; t < 3; ++t)
    for (i64 i = 0; i < count_of(a.out[t]); ++i) put_at(a.out[t], i, sums[t][static_cast<std::size_t>(i)]);
}

}  // namespace terrace::reference
