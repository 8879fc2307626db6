// dropout, step counts, learning rate, clipping, AdamW, SGD, accumulation.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

constexpr i64 kRun = 16384;

/// Philox4x32-10: word `which` of the block `counter` under `key`. (Salmon et al. 2011, SC'11.)
u32 philox(const u32 (&counter)[4], u32 key0, u32 key1, int which) {
  u32 c[4] = {counter[0], counter[1], counter[2], counter[3]};
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = u64{0xD2511F53} * c[0], p1 = u64{0xCD9E8D57} * c[2];
    const u32 next[4] = {static_cast<u32>(p1 >> 32) ^ c[1] ^ key0, static_cast<u32>(p1),
                         static_cast<u32>(p0 >> 32) ^ c[3] ^ key1, static_cast<u32>(p0)};
    std::copy(next, next + 4, c);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c[which];
}

i32 load_step(const TensorView& v) {
  i32 step;
  std::memcpy(&step, v.data, 4);
  return step;
}

}  // namespace

/// Element e is kept if word e % 4 of block {e / 4 (64 bits), step, 0} under key ints[0] is at least p 2^32.
void dropout(const KernelArgs& a) {
  const double p = a.floats[0], threshold = p * 0x1p32;
  const i64 columns = columns_of(a.out[0]);
  each(a, [&](i64 i, i64 c) {
    const u64 e = static_cast<u64>(i * columns + c);
    const u32 counter[4] = {static_cast<u32>(e / 4), static_cast<u32>(e / 4 >> 32),
                            static_cast<u32>(load_step(a.in[1])), 0};
    const u64 key = static_cast<u64>(a.ints[0]);
    const u32 word = philox(counter, static_cast<u32>(key), static_cast<u32>(key >> 32), static_cast<int>(e % 4));
    return static_cast<double>(word) >= threshold ? element(a.in[0], i, c) / (1 - p) : 0.0;
  });
}

void square_sums(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 r = 0; r < columns_of(a.out[0]); ++r) {
    double sum = 0;
    for (i64 i = r * kRun; i < std::min((r + 1) * kRun, count_of(a.in[0])); ++i) sum += at(a.in[0], i) * at(a.in[0], i);
    put(a.out[0], 0, r, sum);
  }
}
void total(const KernelArgs& a) {
  if (a.worker != 0) return;
  double sum = 0;
  for (i64 i = 0; i < count_of(a.in[0]); ++i) sum += at(a.in[0], i);
  put(a.out[0], 0, 0, sum);
}

void advance(const KernelArgs& a) {
  if (a.worker != 0) return;
  const i32 next = load_step(a.in[0]) + 1;
  std::memcpy(a.out[0].data, &next, 4);
}

void learning_rate(const KernelArgs& a) {
  if (a.worker != 0) return;
  const double t = load_step(a.in[0]) + 1.0;
  const auto warm = static_cast<double>(a.ints[0]), last = static_cast<double>(a.ints[1]);
  const double progress = std::clamp((t - warm) / (last - warm), 0.0, 1.0);
  const double cosine = a.floats[1] + (a.floats[0] - a.floats[1]) * (1 + std::cos(std::numbers::pi * progress)) / 2;
  put(a.out[0], 0, 0, t <= warm ? a.floats[0] * t / warm : cosine);
  put(a.out[0], 0, 1, 1 / (1 - std::pow(a.floats[2], t)));
  put(a.out[0], 0, 2, 1 / (1 - std::pow(a.floats[3], t)));
  put(a.out[0], 0, 3, 1);
}

/// As torch.nn.utils.clip_grad_norm_ has it.
void clip(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 c = 0; c < 3; ++c) put(a.out[0], 0, c, element(a.in[0], 0, c));
  put(a.out[0], 0, 3, std::min(a.floats[0] / (std::sqrt(element(a.in[1], 0, 0)) + 1e-6), 1.0));
}

void adamw(const KernelArgs& a) {
  if (a.worker != 0) return;
  const double b1 = a.floats[0], b2 = a.floats[1], eps = a.floats[2], decay = a.floats[3];
  const TensorView& rate = a.in[4];
  for (i64 i = 0; i < count_of(a.in[0]); ++i) {
    const double w = at(a.in[0], i), g = element(rate, 0, 3) * at(a.in[3], i);
    const double m = b1 * at(a.in[1], i) + (1 - b1) * g, v = b2 * at(a.in[2], i) + (1 - b2) * g * g;
    const double step = m * element(rate, 0, 1) / (std::sqrt(v * element(rate, 0, 2)) + eps) + decay * w;
    put_at(a.out[0], i, w - element(rate, 0, 0) * step);
    put_at(a.out[1], i, m);
    put_at(a.out[2], i, v);
  }
}

void rescale(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return (a.floats[0] + a.floats[1] * element(a.in[1], 0, 0)) * element(a.in[0], i, c); });
}
void blend(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) {
    const double m = element(a.in[0], i, c);
    return m + (1 - a.floats[0]) * (element(a.in[2], 0, 3) * element(a.in[1], i, c) - m);
  });
}
void add_square(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) {
    const double g = element(a.in[2], 0, 3) * element(a.in[1], i, c);
    return element(a.in[0], i, c) + (1 - a.floats[0]) * g * g;
  });
}
void root(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return std::sqrt(element(a.in[1], 0, 2) * element(a.in[0], i, c)) + a.floats[0]; });
}
void descend(const KernelArgs& a) {
  const double rate = element(a.in[3], 0, 0) * element(a.in[3], 0, 1);
  each(a,
       [&](i64 i, i64 c) { return element(a.in[0], i, c) - rate * element(a.in[1], i, c) / element(a.in[2], i, c); });
}

void sgd(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView& rate = a.in[3];
  for (i64 i = 0; i < count_of(a.in[0]); ++i) {
    const double w = at(a.in[0], i), g = element(rate, 0, 3) * at(a.in[2], i);
    const double m = a.floats[0] * at(a.in[1], i) + g + a.floats[1] * w;
    put_at(a.out[0], i, w - element(rate, 0, 0) * m);
    put_at(a.out[1], i, m);
  }
}

void accumulate(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c) + element(a.in[1], i, c); });
}

}  // namespace terrace::reference
