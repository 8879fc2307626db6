// Element types, block layouts, shapes with symbolic extents, and views: all that a kernel ever sees.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "terrace/core/units.h"

namespace terrace {

/// What an element stands for. A quantized weight has dtype f32 (the number it stands for) and a block layout.
enum class DType : std::uint8_t { f32, f16, i32, f64, bf16 };

/// How the elements of a row lie in memory. Rows are always contiguous; blocks run along the last axis.
/// Byte layouts of q8_0, q4_0 and q4_1 are GGUF's (ggml-common.h): 32 elements a block, IEEE half scales.
enum class Layout : std::uint8_t {
  dense,  ///< elements one after the other
  q8_0,   ///< 34 B: half d, 32 x int8 q; element = d q
  q4_0,   ///< 18 B: half d, 16 B of nibbles (low nibble j = element j, high = element j + 16); element = d (q - 8)
  q4_1,   ///< 20 B: half d, half m, 16 B of nibbles; element = d q + m
  /// Activations in 8 bits, row-wise: K x int8 q, then K/32 x f32 d, then K/32 x f32 s = d * sum(q) of the block.
  /// K + K/4 bytes a row; element = d q with d = max|x| / 127 of the block and q rounded to nearest, ties to even.
  q8a,
};

inline constexpr i64 kBlock = 32;  ///< elements a block in every block layout so far
inline constexpr int kMaxRank = 4;

std::string_view name_of(DType t);
std::string_view name_of(Layout l);
/// Parses what name_of prints; false if there is no such name.
bool parse(std::string_view text, DType& out);
bool parse(std::string_view text, Layout& out);

/// Bytes of an element in the dense layout.
constexpr u64 dense_bytes(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::f64: return 8;
  }
  return 0;
}

/// Bytes of one row of `columns` elements. Block layouts need a multiple of kBlock columns (checked when specs are
/// made).
constexpr u64 row_bytes(DType t, Layout l, i64 columns) {
  const auto n = static_cast<u64>(columns);
  switch (l) {
    case Layout::dense: return n * dense_bytes(t);
    case Layout::q8_0: return n / 32 * 34;
    case Layout::q4_0: return n / 32 * 18;
    case Layout::q4_1: return n / 32 * 20;
    case Layout::q8a: return n + n / 4;
  }
  return 0;
}

/// A size that varies at run time, with an upper bound that the graph's symbol table holds.
using SymbolId = std::int16_t;
inline constexpr SymbolId kNoSymbol = -1;

/// An extent: a constant, or a symbol.
struct Dim {
  i64 value = 1;  ///< the constant; unused when `symbol` is set
  SymbolId symbol = kNoSymbol;
  constexpr Dim() = default;
  constexpr Dim(i64 v) : value(v) {}  // NOLINT: constants convert to extents
  static constexpr Dim of(SymbolId s) {
    Dim d;
    d.value = 0;
    d.symbol = s;
    return d;
  }
  constexpr bool is_symbol() const { return symbol != kNoSymbol; }
  constexpr i64 at(std::span<const i64> symbols) const {
    return is_symbol() ? symbols[static_cast<std::size_t>(symbol)] : value;
  }
  constexpr bool operator==(const Dim&) const = default;
};

/// Up to four extents, outermost first; the last axis is contiguous.
struct Shape {
  std::array<Dim, kMaxRank> dims{};
  int rank = 0;
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<Dim> d) {
    for (Dim x : d) dims[static_cast<std::size_t>(rank++)] = x;
  }
  constexpr const Dim& operator[](int axis) const { return dims[static_cast<std::size_t>(axis)]; }
  constexpr Dim& operator[](int axis) { return dims[static_cast<std::size_t>(axis)]; }
  constexpr const Dim& last() const { return dims[static_cast<std::size_t>(rank - 1)]; }
  bool operator==(const Shape& o) const;
};

/// What a tensor is: element type, layout, shape.
struct TensorSpec {
  DType dtype = DType::f32;
  Layout layout = Layout::dense;
  Shape shape;
  /// Product of all extents but the last, for these symbol values.
  i64 rows(std::span<const i64> symbols) const;
  i64 columns(std::span<const i64> symbols) const { return shape.rank == 0 ? 1 : shape.last().at(symbols); }
  /// Bytes when packed without gaps, for these symbol values (upper bounds give the reservation).
  Bytes bytes(std::span<const i64> symbols) const;
  bool operator==(const TensorSpec&) const = default;
};

/// A spec with a pointer and actual extents. `stride[a]` is in bytes; along the last axis elements or blocks are
/// packed. Plain data: kernels built for other instruction sets include this header, so it must stay free of inline
/// library code.
struct TensorView {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  Layout layout = Layout::dense;
  int rank = 0;
  i64 dim[kMaxRank] = {1, 1, 1, 1};
  i64 stride[kMaxRank] = {0, 0, 0, 0};
};

/// A packed view of `spec` at `data` with these symbol values.
TensorView make_view(const TensorSpec& spec, std::byte* data, std::span<const i64> symbols);

/// `view` cut to [begin, end) along `axis`. Along the last axis of a block layout the cut must fall on blocks
/// (q8a cannot be cut along its last axis).
TensorView slice(const TensorView& view, int axis, i64 begin, i64 end);

/// "f32[n, 576]", "q4_1[1536, 576]"; symbols by name if given, else s0, s1.
std::string to_string(const TensorSpec& spec, std::span<const std::string> symbol_names = {});

}  // namespace terrace
