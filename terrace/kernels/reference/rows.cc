// take_rows, scatter_rows, last_rows, dequantize, quantize, cast, append_rows: rows moved, or written in another
// format.
#include <algorithm>
#include <cmath>
#include <limits>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

void copy_row(const TensorView& from, i64 i, const TensorView& to, i64 j) {
  std::memcpy(row_at(to, j), row_at(from, i), static_cast<std::size_t>(bytes_of_row(from)));
}

/// What every 8-bit quantizing kernel does, bit for bit. All arithmetic is in float.
///   m = max |x| of the block, NaN if it holds one;  d = m / 127
///   inverse = 1 / d if d is a normal number, else 0 (the elements of a block below 2^-126 * 127 become 0)
///   q = the integer nearest to x * inverse, ties to even, limited to [-127, 127]; -127 where x * inverse is NaN
///       (d is then infinite or NaN, and so is all that is computed from the block)
struct Block {
  float d;
  int q[kBlock];
  int sum;
};
Block quantize_block(const TensorView& x, i64 row, i64 column) {
  Block b{};
  float m = 0;
  for (i64 e = 0; e < kBlock; ++e) {
    const float v = std::fabs(static_cast<float>(element(x, row, column + e)));
    if (!(v <= m)) m = v;      // a NaN is taken ...
    if (std::isnan(m)) break;  // ... and stays
  }
  b.d = m / 127.0f;
  const bool usable = b.d >= std::numeric_limits<float>::min() && b.d <= std::numeric_limits<float>::max();
  const float inverse = usable ? 1.0f / b.d : 0.0f;
  for (i64 e = 0; e < kBlock; ++e) {
    const float v = static_cast<float>(element(x, row, column + e)) * inverse;
    b.q[e] = std::isnan(v) ? -127 : static_cast<int>(std::nearbyint(std::clamp(v, -127.0f, 127.0f)));
    b.sum += b.q[e];
  }
  return b;
}

void append_row(const TensorView& x, i64 i, const TensorView& cache, i64 j) {
  std::byte* to = row_at(cache, j);
  for (i64 c = 0; c < columns_of(x); ++c) {
    const auto v = static_cast<float>(element(x, i, c));
    if (cache.layout == Layout::dense && cache.dtype == DType::f32) {
      std::memcpy(to + c * 4, &v, 4);
    } else if (cache.layout == Layout::dense) {
      const std::uint16_t h = float_to_half(v);
      std::memcpy(to + c * 2, &h, 2);
    } else if (c % kBlock == 0) {
      const Block b = quantize_block(x, i, c);
      const std::uint16_t h = float_to_half(b.d);
      std::byte* block = to + c / kBlock * 34;
      std::memcpy(block, &h, 2);
      for (i64 e = 0; e < kBlock; ++e) block[2 + e] = static_cast<std::byte>(b.q[e]);
    }
  }
}

}  // namespace

void take_rows(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 i = 0; i < rows_of(a.out[0]); ++i) { copy_row(a.in[0], static_cast<i64>(at(a.in[1], i)), a.out[0], i); }
}

void scatter_rows(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &ids = a.in[1], &x = a.in[2], &y = a.out[0];
  for (i64 c = 0; c < columns_of(y); ++c) {
    for (i64 r = 0; r < rows_of(y); ++r) {
      double sum = 0;
      for (i64 i = 0; i < rows_of(x); ++i)
        if (static_cast<i64>(at(ids, i)) == r) sum += element(x, i, c);
      put(y, r, c, sum);
    }
  }
}

void positions(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 i = 0; i < rows_of(a.out[0]); ++i)
    for (i64 c = 0; c < columns_of(a.out[0]); ++c) {
      const auto p = static_cast<i32>(a.sym[0] + c);
      std::memcpy(row_at(a.out[0], i) + 4 * c, &p, 4);
    }
}

void cast(const KernelArgs& a) {
  each(a, [&](i64 i, i64 c) { return element(a.in[0], i, c); });
}

void last_rows(const KernelArgs& a) {
  if (a.worker == 0) copy_row(a.in[0], rows_of(a.in[0]) - 1, a.out[0], 0);
}

void dequantize(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (i64 i = 0; i < rows_of(a.out[0]); ++i)
    for (i64 c = 0; c < columns_of(a.out[0]); ++c) put(a.out[0], i, c, element(a.in[0], i, c));
}

void quantize(const KernelArgs& a) {
  if (a.worker != 0) return;
  const i64 k = columns_of(a.in[0]);
  for (i64 i = 0; i < rows_of(a.in[0]); ++i) {
    std::byte* row = row_at(a.out[0], i);
    for (i64 c = 0; c < k; c += kBlock) {
      const Block b = quantize_block(a.in[0], i, c);
      const float s = b.d * static_cast<float>(b.sum);
      for (i64 e = 0; e < kBlock; ++e) row[c + e] = static_cast<std::byte>(b.q[e]);
      std::memcpy(row + k + c / kBlock * 4, &b.d, 4);
      std::memcpy(row + k + k / kBlock * 4 + c / kBlock * 4, &s, 4);
    }
  }
}

void append_rows(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &before = a.in[0], &x = a.in[1], &after = a.out[0];
  if (before.data != after.data)  // not in place: only a test does that
    for (i64 j = 0; j < rows_of(before); ++j) copy_row(before, j, after, j);
  for (i64 i = 0; i < rows_of(x); ++i) append_row(x, i, after, a.sym[0] + i);
}

}  // namespace terrace::reference
