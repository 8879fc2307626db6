// softmax, rms_norm, layer_norm, their gradients, and sums over rows.
#include <algorithm>
#include <cmath>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {

void rms_norm(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &weight = a.in[1], &y = a.out[0];
  const i64 k = columns_of(x);
  for (i64 i = 0; i < rows_of(x); ++i) {
    double squares = 0;
    for (i64 c = 0; c < k; ++c) squares += element(x, i, c) * element(x, i, c);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(k) + a.floats[0]);
    for (i64 c = 0; c < k; ++c) put(y, i, c, element(x, i, c) * scale * element(weight, 0, c));
  }
}

void softmax(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &y = a.out[0];
  const i64 k = columns_of(x);
  for (i64 i = 0; i < rows_of(x); ++i) {
    double top = -INFINITY, sum = 0;
    for (i64 c = 0; c < k; ++c) top = std::max(top, element(x, i, c));
    for (i64 c = 0; c < k; ++c) sum += std::exp(element(x, i, c) - top);
    for (i64 c = 0; c < k; ++c) put(y, i, c, std::exp(element(x, i, c) - top) / sum);
  }
}

void causal_softmax(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &y = a.out[0];
  const i64 n = x.dim[x.rank - 2], m = columns_of(x);
  for (i64 i = 0; i < rows_of(x); ++i) {
    const i64 seen = std::clamp<i64>(i % n + 1 + m - n, 0, m);
    double top = -INFINITY, sum = 0;
    for (i64 c = 0; c < seen; ++c) top = std::max(top, element(x, i, c));
    for (i64 c = 0; c < seen; ++c) sum += std::exp(element(x, i, c) - top);
    for (i64 c = 0; c < m; ++c) put(y, i, c, c < seen ? std::exp(element(x, i, c) - top) / sum : 0);
  }
}

void softmax_grad(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &y = a.in[0], &dy = a.in[1];
  for (i64 i = 0; i < rows_of(y); ++i) {
    double dot = 0;
    for (i64 c = 0; c < columns_of(y); ++c) dot += element(y, i, c) * element(dy, i, c);
    for (i64 c = 0; c < columns_of(y); ++c) put(a.out[0], i, c, element(y, i, c) * (element(dy, i, c) - dot));
  }
}

namespace {
struct Stats {
  double mean = 0, inverse = 0;
};
Stats stats_of(const TensorView& x, i64 row, bool centered, double eps) {
  const auto k = static_cast<double>(columns_of(x));
  Stats s;
  double squares = 0;
  if (centered)
    for (i64 c = 0; c < columns_of(x); ++c) s.mean += element(x, row, c) / k;
  for (i64 c = 0; c < columns_of(x); ++c) squares += (element(x, row, c) - s.mean) * (element(x, row, c) - s.mean);
  s.inverse = 1 / std::sqrt(squares / k + eps);
  return s;
}
}  // namespace

void layer_norm(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView& x = a.in[0];
  for (i64 i = 0; i < rows_of(x); ++i) {
    const Stats s = stats_of(x, i, true, a.floats[0]);
    for (i64 c = 0; c < columns_of(x); ++c)
      put(a.out[0], i, c, (element(x, i, c) - s.mean) * s.inverse * element(a.in[1], 0, c) + element(a.in[2], 0, c));
  }
}

void norm_stats(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 i = 0; i < rows_of(a.in[0]); ++i) {
    const Stats s = stats_of(a.in[0], i, a.ints[0] != 0, a.floats[0]);
    put(a.out[0], i, 0, s.mean);
    put(a.out[0], i, 1, s.inverse);
  }
}

/// With h = (x - mean) inverse and g = weight dy: dx = inverse (g - mean(g) - h mean(g h)), without mean(g) if the norm
/// does not center.
void norm_grad(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &weight = a.in[1], &stats = a.in[2], &dy = a.in[3];
  const auto k = static_cast<double>(columns_of(x));
  for (i64 i = 0; i < rows_of(x); ++i) {
    const double mean = element(stats, i, 0), inverse = element(stats, i, 1);
    double sum = 0, dot = 0;
    for (i64 c = 0; c < columns_of(x); ++c) {
      const double g = element(weight, 0, c) * element(dy, i, c);
      sum += g / k;
      dot += g * (element(x, i, c) - mean) * inverse / k;
    }
    if (a.ints[0] == 0) sum = 0;
    for (i64 c = 0; c < columns_of(x); ++c) {
      const double g = element(weight, 0, c) * element(dy, i, c);
      put(a.out[0], i, c, inverse * (g - sum - (element(x, i, c) - mean) * inverse * dot));
    }
  }
}

void norm_grad_weight(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &stats = a.in[1], &dy = a.in[2];
  for (i64 c = 0; c < columns_of(x); ++c) {
    double sum = 0;
    for (i64 i = 0; i < rows_of(x); ++i)
      sum += (element(x, i, c) - element(stats, i, 0)) * element(stats, i, 1) * element(dy, i, c);
    put(a.out[0], 0, c, sum);
  }
}

void add_row(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) + element(a.in[1], 0, c); });
}

void sum_rows(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 c = 0; c < columns_of(a.in[0]); ++c) {
    double sum = 0;
    for (i64 i = 0; i < rows_of(a.in[0]); ++i) sum += element(a.in[0], i, c);
    put(a.out[0], 0, c, sum);
  }
}

void mean(const KernelArgs& a) {
  if (a.worker != 0) return;
  double sum = 0;
  for (i64 i = 0; i < count_of(a.in[0]); ++i) sum += at(a.in[0], i);
  put(a.out[0], 0, 0, sum / static_cast<double>(count_of(a.in[0])));
}

}  // namespace terrace::reference
