// quantize, and append_rows into caches of halves or 8-bit blocks. reference/rows.cc says the rounding.
#pragma once

#include "terrace/kernels/half.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline void quantize_body(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  // Cuts of 512 elements: a line of scales, and less is not worth a second worker.
  const Part part = part_of(rows_of(a.in[0]), k, 512, a.worker, a.workers);
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    std::byte* q = row_at(a.out[0], i);
    auto* d = reinterpret_cast<float*>(q + k);
    float* s = d + k / 32;
    for (i64 c = part.columns.begin; c < part.columns.end; c += 32) {
      const int sum = V::quantize32(x + c, q + c, d + c / 32);
      s[c / 32] = d[c / 32] * static_cast<float>(sum);
    }
  }
}

inline void append_rows_f16_body(const KernelArgs& a) {
  const TensorView &x = a.in[1], &cache = a.out[0];
  const i64 k = columns_of(x);
  const Range rows = share(rows_of(x), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* from = floats_at(x, i);
    std::byte* to = row_at(cache, a.sym[0] + i);
    i64 c = 0;
    for (; c + V::kLanes <= k; c += V::kLanes) V::to_half(V::load(from + c), to + 2 * c);
    for (; c < k; ++c) {
      const std::uint16_t h = float_to_half(from[c]);
      std::memcpy(to + 2 * c, &h, 2);
    }
  }
}

inline void append_rows_q8_0_body(const KernelArgs& a) {
  const TensorView &x = a.in[1], &cache = a.out[0];
  const Range rows = share(rows_of(x), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* from = floats_at(x, i);
    std::byte* to = row_at(cache, a.sym[0] + i);
    for (i64 c = 0; c < columns_of(x); c += 32, to += 34) {
      float d;
      V::quantize32(from + c, to + 2, &d);
      const std::uint16_t h = float_to_half(d);
      std::memcpy(to, &h, 2);
    }
  }
}

}  // namespace
}  // namespace terrace
