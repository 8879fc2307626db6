// matmul of bf16 in pairs.
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/avx512/turn.h"
#include "terrace/kernels/cpu/avx512_bf16/pairs.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/matmul.h"

namespace terrace {
namespace {

/// Rows of op(a) as pairs along its columns: to[kRowStride r + t].
template <class T>
void pair_rows(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to) {
  for (i64 r = 0; r < rows; ++r, to += kRowStride) {
    const T *from = numbers_at<T>(m, row + r) + column, *next = numbers_at<T>(m, row + rows + r) + column;
    for (i64 c = 0; c < columns; c += 32) {
      V::store(to + c / 2, Pairs::some_along(from + c, columns - c));
      for (i64 line = 0; line < 32 * static_cast<i64>(sizeof(T)); line += 64)
        __builtin_prefetch(reinterpret_cast<const std::byte*>(next + c) + line, 0, 2);
    }
  }
}

/// Panels of pairs across rows: `depth` slots each.
template <class T>
void pair_panels(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 depth) {
  for (i64 r = 0; r < rows; r += 2) {
    const T *x = numbers_at<T>(m, row + r) + column,
            *y = r + 1 < rows ? numbers_at<T>(m, row + r + 1) + column : nullptr;
    float* panel = to + r / 2 * kPanel;
    for (i64 c = 0; c < columns; c += kPanel, panel += depth * kPanel)
      for (i64 v = c; v < c + kPanel && v < columns; v += 16)
        V::store(panel + v - c, Pairs::some_across(x + v, y != nullptr ? y + v : nullptr, columns - v));
  }
}

/// Turned: to[stride c + t] is the pair of rows row + 2 t and the next in column column + c, by squares, as
/// pack_turned.
template <class T>
void pair_columns(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 stride) {
  float square[kSquare * kSquare] = {};
  const float* at[kSquare];
  for (i64 i = 0; i < kSquare; ++i) at[i] = square + i * kSquare;
  for (i64 r = 0; r < rows; r += 2 * kSquare)
    for (i64 c = 0; c < columns; c += kSquare) {
      for (i64 i = 0; i < kSquare && r + 2 * i < rows; ++i) {
        const T* x = numbers_at<T>(m, row + r + 2 * i) + column + c;
        const T* y = r + 2 * i + 1 < rows ? numbers_at<T>(m, row + r + 2 * i + 1) + column + c : nullptr;
        V::store(square + i * kSquare, Pairs::some_across(x, y, columns_of(m) - column - c));
        __builtin_prefetch(x + columns);
        if (y != nullptr) __builtin_prefetch(y + columns);
      }
      turn(at, 0, to + stride * c + r / 2, stride);
    }
}

/// Panels of the transpose: to[t kPanel + r] is the pair at column column + 2 t of row row + r.
template <class T>
void pair_turned_panels(const TensorView& m, i64 row, i64 rows, i64 column, i64 columns, float* to, i64 depth) {
  float square[kSquare * kSquare];
  const float* at[kSquare];
  for (i64 i = 0; i < kSquare; ++i) at[i] = square + i * kSquare;
  for (i64 r = 0; r < rows; r += kSquare) {
    float* panel = to + r / kPanel * depth * kPanel + r % kPanel;
    const T* from[kSquare];
    for (i64 i = 0; i < kSquare; ++i) {
      from[i] = numbers_at<T>(m, row + least(r + i, rows - 1)) + column;
      __builtin_prefetch(from[i] + columns);
    }
    for (i64 c = 0; c < columns; c += 2 * kSquare) {
      for (i64 i = 0; i < kSquare; ++i) V::store(square + i * kSquare, Pairs::some_along(from[i] + c, columns - c));
      turn(at, 0, panel + c / 2 * kPanel, kPanel);
    }
  }
}

/// A pair of bf16 in each slot.
struct PairSlots {
  using Arithmetic = PairSlots;
  static constexpr i64 kEntries = 2;
  static F multiply(F a, F b, F sum) { return Pairs::multiply(a, b, sum); }
  static Packing packing(const TensorView& a, bool turned_a, const TensorView& b, bool turned_b) {
    Packing p{};
    a.dtype == DType::bf16 ? pack_a<Bf16>(turned_a, p) : pack_a<float>(turned_a, p);
    b.dtype == DType::bf16 ? pack_b<Bf16>(turned_b, p) : pack_b<float>(turned_b, p);
    return p;
  }

 private:
  template <class T>
  static void pack_a(bool turned, Packing& to) {
    to.a = pair_rows<T>;
    if (turned)
      to.a = [](const TensorView& m, i64 row, i64 rows, i64 k0, i64 depth, float* at) {
        pair_columns<T>(m, k0, depth, row, rows, at, kRowStride);
      };
  }
  template <class T>
  static void pack_b(bool turned, Packing& to) {
    to.b = pair_turned_panels<T>;
    if (!turned)
      to.b = [](const TensorView& m, i64 column, i64 columns, i64 k0, i64 depth, float* at, i64 padded) {
        pair_panels<T>(m, k0, depth, column, columns, at, padded);
      };
  }
};

}  // namespace
}  // namespace terrace

namespace terrace::TERRACE_AVX512_BF16 {

void matmul(const KernelArgs& a) { matmul_body<PairSlots>(a); }
void matmul_add(const KernelArgs& a) { matmul_add_body<PairSlots>(a); }
extern const ListedKernel kMatmul[kMatmulBf16Kernels] = {TERRACE_MATMUL_BF16(TERRACE_ROW, matmul)
                                                             TERRACE_MATMUL_ADD_BF16(TERRACE_ROW, matmul_add)};

}  // namespace terrace::TERRACE_AVX512_BF16
