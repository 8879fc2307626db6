// matmul whose b is a weight as it lies in a file: rows are made floats while they are packed. Include after a turn.h
// and a decode.h.
#pragma once

#include "terrace/kernels/cpu/body/matmul_pack.h"

namespace terrace {
namespace {

inline constexpr i64 kChunk = 32;  ///< elements that are made floats at a time

/// How a weight's rows are read.
struct RowReader {
  void (*decode)(const unsigned char* chunk, float* to) = nullptr;  ///< kChunk elements
  i64 chunk_bytes = 0;
};

template <class W>
inline void decode_chunk(const unsigned char* chunk, float* to) {
  F v[kChunk / V::kLanes];
  W::decode(chunk, v);
  for (int i = 0; i < kChunk / V::kLanes; ++i) V::store(to + i * V::kLanes, v[i]);
}
template <class W>
inline RowReader reader_of() {
  return {decode_chunk<W>, W::offset(kChunk)};
}

/// Elements column .. column + kChunk - 1 of a row, zeros behind its end; `column` is a multiple of kChunk.
inline void read_chunk(const RowReader& reader, const TensorView& m, i64 row, i64 column, float* to) {
  const auto* from = reinterpret_cast<const unsigned char*>(row_at(m, row)) + column / kChunk * reader.chunk_bytes;
  if (column + kChunk <= columns_of(m)) return reader.decode(from, to);
  unsigned char rest[4 * kChunk] = {};  // only of dense rows, whose elements have one size
  __builtin_memcpy(rest, from, static_cast<std::size_t>((columns_of(m) - column) * reader.chunk_bytes / kChunk));
  reader.decode(rest, to);
}

/// As pack_panels; `column` is a multiple of kPanel.
inline void pack_read_panels(const RowReader& reader, const TensorView& m, i64 row, i64 rows, i64 column, i64 columns,
                             float* to, i64 depth) {
  for (i64 r = 0; r < rows; ++r)
    for (i64 c = column / kChunk * kChunk; c < column + columns; c += kChunk) {
      float chunk[kChunk];
      read_chunk(reader, m, row + r, c, chunk);
      for (i64 e = 0; e < kChunk; e += kPanel) {
        const i64 at = c + e - column;
        if (at < 0 || at >= columns) continue;
        float* line = to + at * depth + r * kPanel;
        for (i64 v = 0; v < kPanel; v += V::kLanes) V::store(line + v, V::load(chunk + e + v));
      }
    }
}

/// As pack_turned_panels; `column` is a multiple of kChunk.
inline void pack_read_turned_panels(const RowReader& reader, const TensorView& m, i64 row, i64 rows, i64 column,
                                    i64 columns, float* to, i64 depth) {
  for (i64 r = 0; r < rows; r += kSquare) {
    float* panel = to + r / kPanel * kPanel * depth + r % kPanel;
    for (i64 c = 0; c < columns; c += kChunk) {
      float chunks[kSquare * kChunk];
      const float* lines[kSquare];
      for (i64 i = 0; i < kSquare; ++i) {
        lines[i] = chunks + i * kChunk;
        read_chunk(reader, m, row + least(r + i, rows - 1), column + c, chunks + i * kChunk);
      }
      for (i64 e = 0; e < kChunk && c + e < columns; e += kSquare) turn(lines, e, panel + kPanel * (c + e), kPanel);
    }
  }
}

/// Floats in each slot, of which b's are a weight's.
template <class W>
struct WeightSlots : FloatSlots {
  static Packing packing(const TensorView&, bool turned_a, const TensorView&, bool turned_b) {
    Packing p{};
    pack_a<Floats>(turned_a, p);
    p.b = [](const TensorView& m, i64 column, i64 columns, i64 k0, i64 depth, float* at, i64 padded) {
      pack_read_turned_panels(reader_of<W>(), m, column, columns, k0, depth, at, padded);
    };
    if (!turned_b)
      p.b = [](const TensorView& m, i64 column, i64 columns, i64 k0, i64 depth, float* at, i64 padded) {
        pack_read_panels(reader_of<W>(), m, k0, depth, column, columns, at, padded);
      };
    return p;
  }
};

}  // namespace
}  // namespace terrace
