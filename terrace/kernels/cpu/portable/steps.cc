// total, advance, learning_rate, clip, correct: a few numbers a step.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "terrace/kernels/cpu/training.h"
#include "terrace/kernels/rows.h"

namespace terrace::portable {
namespace {

i32 step_at(const TensorView& v) {
  i32 step;
  std::memcpy(&step, v.data, 4);
  return step;
}

/// In step t, counted from 1.
double rate_of(const KernelArgs& a, double t) {
  const auto warm_up = static_cast<double>(a.ints[0]), last = static_cast<double>(a.ints[1]);
  const double base = a.floats[0], least = a.floats[1];
  if (t <= warm_up) return base * t / warm_up;
  const double progress = t < last ? (t - warm_up) / (last - warm_up) : 1;
  return least + (base - least) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

}  // namespace

void total(const KernelArgs& a) {
  if (a.worker != 0) return;
  double sum = 0;
  for (i64 i = 0; i < columns_of(a.in[0]); ++i) sum += static_cast<double>(floats_at(a.in[0], 0)[i]);
  *floats_at(a.out[0], 0) = static_cast<float>(sum);
}

void advance(const KernelArgs& a) {
  if (a.worker != 0) return;
  const i32 next = static_cast<i32>(static_cast<u32>(step_at(a.in[0])) + 1u);
  std::memcpy(a.out[0].data, &next, 4);
}

void learning_rate(const KernelArgs& a) {
  if (a.worker != 0) return;
  const double t = static_cast<double>(step_at(a.in[0])) + 1;
  float* to = floats_at(a.out[0], 0);
  to[0] = static_cast<float>(rate_of(a, t));
  for (int i = 1; i < 3; ++i) to[i] = static_cast<float>(1 / (1 - std::pow(a.floats[i + 1], t)));
  to[3] = 1;
}

void clip(const KernelArgs& a) {
  if (a.worker != 0) return;
  const double norm = std::sqrt(static_cast<double>(*floats_at(a.in[1], 0)));
  const double by = a.floats[0] / (norm + 1e-6);
  float* to = floats_at(a.out[0], 0);
  std::memmove(to, a.in[0].data, 12);
  to[3] = static_cast<float>(by > 1 ? 1 : by);  // a NaN stays one
}

void correct(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    i32 target;
    std::memcpy(&target, entry_at(a.in[1], i), 4);
    bool right = target >= 0 && target < k;
    // "Not below" is no way to say it: a NaN is in no order with anything.
    for (i64 c = 0; right && c < k; ++c) right = c < target ? x[c] < x[target] : x[c] <= x[target];
    *reinterpret_cast<float*>(entry_at(a.out[0], i)) = right ? 1 : 0;
  }
}

}  // namespace terrace::portable
