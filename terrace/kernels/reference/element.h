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
  const auto int_at = [](const std::byte* p) {
    i32 v;
    std::memcpy(&v, p, 4);
    return static_cast<double>(v);
  };
  // A nibble of 16 bytes: the low halves hold elements 0..15, the high ones 16..31.
  const auto nibble_at = [&](const std::byte* p) { return e < 16 ? byte_at(p, e) & 15 : byte_at(p, e - 16) >> 4; };
  switch (layout) {
    case Layout::dense:
      switch (dtype) {
        case DType::f32: return float_at(row + column * 4);
        case DType::f16: return static_cast<double>(load_half(row + column * 2));
        case DType::bf16: return static_cast<double>(load_bf16(row + column * 2));
        case DType::i32: return int_at(row + column * 4);
        case DType::f64: {
          double d;
          std::memcpy(&d, row + column * 8, 8);
          return d;
        }
      }
      return 0;
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

/// Stores a number in a dense view of f32, f64, bf16 or i32.
inline void put(const TensorView& v, i64 row, i64 column, double x) {
  if (v.dtype == DType::f64) {
    std::memcpy(row_at(v, row) + column * 8, &x, 8);
  } else if (v.dtype == DType::bf16) {
    const std::uint16_t h = float_to_bf16(static_cast<float>(x));
    std::memcpy(row_at(v, row) + column * 2, &h, 2);
  } else if (v.dtype == DType::i32) {
    const auto n = static_cast<i32>(x);
    std::memcpy(row_at(v, row) + column * 4, &n, 4);
  } else {
    const auto f = static_cast<float>(x);
    std::memcpy(row_at(v, row) + column * 4, &f, 4);
  }
}

/// Elements of a view, and the i-th of them in row-major order.
inline i64 count_of(const TensorView& v) { return rows_of(v) * columns_of(v); }
inline double at(const TensorView& v, i64 i) { return element(v, i / columns_of(v), i % columns_of(v)); }
inline void put_at(const TensorView& v, i64 i, double x) { put(v, i / columns_of(v), i % columns_of(v), x); }

/// out[0] = f(row, column) at each position.
template <class F>
void each(const KernelArgs& a, F f) {
  if (a.worker != 0) return;
  for (i64 i = 0; i < rows_of(a.out[0]); ++i)
    for (i64 c = 0; c < columns_of(a.out[0]); ++c) put(a.out[0], i, c, f(i, c));
}

}  // namespace terrace::reference
