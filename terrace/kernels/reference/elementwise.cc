// One result from each position: arithmetic, activations and their derivatives.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu_of(double x) { return x * sigmoid(x); }

const double kGelu = std::sqrt(2 / std::numbers::pi), kCube = 0.044715;
double gelu_tanh(double x) { return std::tanh(kGelu * (x + kCube * x * x * x)); }

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

void sub(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) - element(a.in[1], i, c); });
}
void div(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) / element(a.in[1], i, c); });
}
void scale(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return a.floats[0] * element(a.in[0], i, c); });
}
void fill(const KernelArgs& a) {
  each(a, [&](i64, i64) { return a.floats[0]; });
}
void spread(const KernelArgs& a) {
  each(a, [&](i64, i64) { return a.floats[0] * element(a.in[1], 0, 0); });
}
void relu(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return std::max(element(a.in[0], i, c), 0.0); });  // a NaN stays
}
void gelu(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) {
    const double x = element(a.in[0], i, c);
    return x / 2 * (1 + gelu_tanh(x));
  });
}
void relu_grad(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) > 0 ? element(a.in[1], i, c) : 0.0; });
}
void gelu_grad(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) {
    const double x = element(a.in[0], i, c), t = gelu_tanh(x);
    const double slope = (1 + t) / 2 + x / 2 * (1 - t * t) * kGelu * (1 + 3 * kCube * x * x);
    return slope * element(a.in[1], i, c);
  });
}
void silu_grad(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) {
    const double x = element(a.in[0], i, c), s = sigmoid(x);
    return s * (1 + x * (1 - s)) * element(a.in[1], i, c);
  });
}

}  // namespace terrace::reference
