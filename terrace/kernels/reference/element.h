// One element at a time, of any format: the simplest reading of core/tensor.h.
#pragma once

#include "terrace/kernels/half.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace::reference {

/// The number that element `column` of a row stands for; `k` is the row's width.
inline double element(const std::byte* row, DType dtype, Layout layout, i64 k, i64 column) {
  const i64 block = column / kBlock, e = column % kBlock;
  const auto byte_at = [](const std::byte* p, i64 i) { return static_cast<int>(std::to_integer<unsigned>(p[i])); };
  const auto signed_at = [&](const std::byte* p, i64 i) {
    const int b = byte_at(p, i);
    return b < 128 ? b : b - 256;
  };
  const auto float_at = [](const std::byte* p) {
    float f;
    std::memcpy(&f, p, 4);
    return static_cast<double>(f);
  };
  // A nibble of 16 bytes: the low halves hold elements 0..15, the high ones 16..31.
  const auto nibble_at = [&](const std::byte* p) { return e < 16 ? byte_at(p, e) & 15 : byte_at(p, e - 16) >> 4; };
  switch (layout) {
    case Layout::dense:
      if (dtype == DType::f16) return static_cast<double>(load_half(row + column * 2));
      if (dtype == DType::i32) {
        i32 v;
        std::memcpy(&v, row + column * 4, 4);
        return v;
      }
      return float_at(row + column * 4);
    case Layout::q8_0: {
      const std::byte* b = row + block * 34;
      return static_cast<double>(load_half(b)) * signed_at(b + 2, e);
    }
    case Layout::q4_0: {
      const std::byte* b = row + block * 18;
      return static_cast<double>(load_half(b)) * (nibble_at(b + 2) - 8);
    }
    case Layout::q4_1: {
      const std::byte* b = row + block * 20;
      return static_cast<double>(load_half(b)) * nibble_at(b + 4) + static_cast<double>(load_half(b + 2));
    }
    case Layout::q8a: return float_at(row + k + block * 4) * signed_at(row, column);
  }
  return 0;
}

/// Element (row, column) of a view, whose rows are counted over all axes but the last.
inline double element(const TensorView& v, i64 row, i64 column) {
  return element(row_at(v, row), v.dtype, v.layout, columns_of(v), column);
}

inline void put(const TensorView& v, i64 row, i64 column, double x) {
  const auto f = static_cast<float>(x);
  std::memcpy(row_at(v, row) + column * 4, &f, 4);
}

}  // namespace terrace::reference
