// take_rows, last_rows, dequantize, append_rows into f32, rope_angles: what needs no vectors.
#include <cmath>
#include <cstring>

#include "terrace/kernels/cpu/kernels.h"
#include "terrace/kernels/half.h"
#include "terrace/kernels/rows.h"

namespace terrace::portable {
namespace {

void copy_row(const TensorView& from, i64 i, const TensorView& to, i64 j) {
  std::memcpy(row_at(to, j), row_at(from, i), static_cast<std::size_t>(bytes_of_row(from)));
}

/// One block of 32 (q8a: its q and d) to floats; q4_1 rounds the product and the sum.
void block_to_floats(Layout layout, const std::byte* b, float* to) {
  const auto* q = reinterpret_cast<const unsigned char*>(b);
  const auto* s = reinterpret_cast<const signed char*>(b);
  const float d = load_half(b);
  if (layout == Layout::q8_0) {
    for (int e = 0; e < 32; ++e) to[e] = d * static_cast<float>(s[2 + e]);
  } else if (layout == Layout::q4_0) {
    for (int e = 0; e < 16; ++e) to[e] = d * static_cast<float>((q[2 + e] & 15) - 8);
    for (int e = 0; e < 16; ++e) to[e + 16] = d * static_cast<float>((q[2 + e] >> 4) - 8);
  } else if (layout == Layout::q4_1) {
    const float m = load_half(b + 2);
    for (int e = 0; e < 16; ++e) to[e] = d * static_cast<float>(q[4 + e] & 15) + m;
    for (int e = 0; e < 16; ++e) to[e + 16] = d * static_cast<float>(q[4 + e] >> 4) + m;
  }
}

void row_to_floats(const TensorView& x, const std::byte* row, float* to) {
  const i64 k = columns_of(x);
  if (x.layout == Layout::dense && x.dtype == DType::f16) {
    for (i64 c = 0; c < k; ++c) to[c] = load_half(row + 2 * c);
  } else if (x.layout == Layout::dense) {
    std::memcpy(to, row, static_cast<std::size_t>(4 * k));
  } else if (x.layout == Layout::q8a) {
    const auto* q = reinterpret_cast<const signed char*>(row);
    const auto* d = reinterpret_cast<const float*>(row + k);
    for (i64 c = 0; c < k; ++c) to[c] = d[c / 32] * static_cast<float>(q[c]);
  } else {
    const i64 bytes = bytes_of_row(x) / (k / 32);
    for (i64 c = 0; c < k; c += 32, row += bytes) block_to_floats(x.layout, row, to + c);
  }
}

}  // namespace

void take_rows(const KernelArgs& a) {
  const Range rows = share(rows_of(a.out[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    i32 id;
    std::memcpy(&id, entry_at(a.in[1], i), 4);
    copy_row(a.in[0], id, a.out[0], i);
  }
}

void last_rows(const KernelArgs& a) {
  if (a.worker == 0) copy_row(a.in[0], rows_of(a.in[0]) - 1, a.out[0], 0);
}

void dequantize(const KernelArgs& a) {
  const Range rows = share(rows_of(a.out[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i)
    row_to_floats(a.in[0], row_at(a.in[0], i), reinterpret_cast<float*>(row_at(a.out[0], i)));
}

void append_rows_f32(const KernelArgs& a) {
  const Range rows = share(rows_of(a.in[1]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) copy_row(a.in[1], i, a.out[0], a.sym[0] + i);
}

void rope_angles(const KernelArgs& a) {
  const i64 d = a.ints[0];
  const Range rows = share(rows_of(a.out[0]), 1, a.worker, a.workers);
  for (i64 j = 0; j < d / 2; ++j) {
    const double frequency = std::pow(a.floats[0], -2.0 * static_cast<double>(j) / static_cast<double>(d));
    for (i64 i = rows.begin; i < rows.end; ++i) {
      const double angle = static_cast<double>(a.sym[0] + i) * frequency;
      float* to = floats_at(a.out[0], i) + 2 * j;
      to[0] = static_cast<float>(std::cos(angle));
      to[1] = static_cast<float>(std::sin(angle));
    }
  }
}

void positions(const KernelArgs& a) {
  const Range rows = share(rows_of(a.out[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i)
    for (i64 c = 0; c < columns_of(a.out[0]); ++c) reinterpret_cast<i32*>(row_at(a.out[0], i))[c] = static_cast<i32>(a.sym[0] + c);
}

}  // namespace terrace::portable
