// rms_norm, softmax.
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

}  // namespace terrace::reference
