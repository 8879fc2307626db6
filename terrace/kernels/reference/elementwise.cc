// add, mul, silu, silu_mul.
#include <cmath>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

double silu_of(double x) { return x / (1 + std::exp(-x)); }

template <class F>
void each(const KernelArgs& a, F f) {
  if (a.worker != 0) return;
  for (i64 i = 0; i < rows_of(a.out[0]); ++i)
    for (i64 c = 0; c < columns_of(a.out[0]); ++c) put(a.out[0], i, c, f(i, c));
}

}  // namespace

void add(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) + element(a.in[1], i, c); });
}
void mul(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) * element(a.in[1], i, c); });
}
void silu(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return silu_of(element(a.in[0], i, c)); });
}
void silu_mul(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return silu_of(element(a.in[0], i, c)) * element(a.in[1], i, c); });
}

}  // namespace terrace::reference
