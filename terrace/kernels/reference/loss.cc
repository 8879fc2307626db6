// cross_entropy and its gradient; correct; with_gradient.
#include <algorithm>
#include <cmath>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {

void cross_entropy(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView& logits = a.in[0];
  for (i64 i = 0; i < rows_of(logits); ++i) {
    double top = -INFINITY, sum = 0;
    for (i64 c = 0; c < columns_of(logits); ++c) top = std::max(top, element(logits, i, c));
    for (i64 c = 0; c < columns_of(logits); ++c) sum += std::exp(element(logits, i, c) - top);
    const double lse = top + std::log(sum);
    put_at(a.out[0], i, lse - element(logits, i, static_cast<i64>(at(a.in[1], i))));
    put_at(a.out[1], i, lse);
  }
}

void cross_entropy_grad(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) {
    const double p = std::exp(element(a.in[0], i, c) - at(a.in[2], i));
    return (p - (static_cast<i64>(at(a.in[1], i)) == c ? 1 : 0)) * at(a.in[3], i);
  });
}

void with_gradient(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c); });
}

void correct(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView& logits = a.in[0];
  for (i64 i = 0; i < rows_of(logits); ++i) {
    i64 best = 0;
    bool numbers = true;
    for (i64 c = 0; c < columns_of(logits); ++c) {
      if (element(logits, i, c) > element(logits, i, best)) best = c;
      numbers = numbers && !std::isnan(element(logits, i, c));
    }
    put_at(a.out[0], i, numbers && static_cast<i64>(at(a.in[1], i)) == best ? 1 : 0);
  }
}

}  // namespace terrace::reference
