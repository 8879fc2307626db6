// rope_angles, rope, attention over a cache.
#include <algorithm>
#include <cmath>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {

void rope_angles(const KernelArgs& a) {
  if (a.worker != 0) return;
  const i64 d = a.ints[0];
  for (i64 i = 0; i < rows_of(a.out[0]); ++i)
    for (i64 j = 0; j < d / 2; ++j) {
      const double frequency = std::pow(a.floats[0], -2.0 * static_cast<double>(j) / static_cast<double>(d));
      const double angle = static_cast<double>(a.sym[0] + i) * frequency;
      put(a.out[0], i, 2 * j, std::cos(angle));
      put(a.out[0], i, 2 * j + 1, std::sin(angle));
    }
}

void rope(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &angles = a.in[1], &y = a.out[0];
  const i64 head = a.ints[0], d = columns_of(angles);
  for (i64 i = 0; i < rows_of(x); ++i)
    for (i64 first = 0; first < columns_of(x); first += head) {
      for (i64 e = 0; e < d; e += 2) {
        const double x0 = element(x, i, first + e), x1 = element(x, i, first + e + 1);
        const i64 at = i % rows_of(angles);
        const double cosine = element(angles, at, e), sine = (a.ints[1] != 0 ? -1 : 1) * element(angles, at, e + 1);
        put(y, i, first + e, x0 * cosine - x1 * sine);
        put(y, i, first + e + 1, x0 * sine + x1 * cosine);
      }
      for (i64 e = d; e < head; ++e) put(y, i, first + e, element(x, i, first + e));
    }
}

void attention(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &q = a.in[0], &keys = a.in[1], &values = a.in[2], &y = a.out[0];
  const i64 heads = a.ints[0], groups = a.ints[1], size = columns_of(q) / heads;
  for (i64 i = 0; i < rows_of(q); ++i)
    for (i64 h = 0; h < heads; ++h) {
      const i64 first = h / (heads / groups) * size, n_keys = a.sym[0] + i + 1;
      const auto score = [&](i64 key) {
        double s = 0;
        for (i64 c = 0; c < size; ++c) s += element(q, i, h * size + c) * element(keys, key, first + c);
        return s * a.floats[0];
      };
      double top = -INFINITY, sum = 0;
      for (i64 key = 0; key < n_keys; ++key) top = std::max(top, score(key));
      for (i64 key = 0; key < n_keys; ++key) sum += std::exp(score(key) - top);
      constexpr i64 kChunk = 64;  // columns summed at a time: nothing is allocated
      for (i64 begin = 0; begin < size; begin += kChunk) {
        const i64 n = std::min(kChunk, size - begin);
        double out[kChunk] = {};
        for (i64 key = 0; key < n_keys; ++key) {
          const double weight = std::exp(score(key) - top) / sum;
          for (i64 c = 0; c < n; ++c) out[c] += weight * element(values, key, first + begin + c);
        }
        for (i64 c = 0; c < n; ++c) put(y, i, h * size + begin + c, out[c]);
      }
    }
}

}  // namespace terrace::reference
