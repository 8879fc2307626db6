// fill, spread, scatter_rows, casts to the same type, slice, pad, concat, transpose, heads: elements in other places.
#include <algorithm>
#include <cstring>

#include "terrace/kernels/cpu/training.h"
#include "terrace/kernels/rows.h"

namespace terrace::portable {
namespace {

void fill_with(const KernelArgs& a, float x) {
  const Part part = part_of(rows_of(a.out[0]), columns_of(a.out[0]), 64, a.worker, a.workers);
  for (i64 i = part.rows.begin; i < part.rows.end; ++i) {
    float* to = floats_at(a.out[0], i);
    std::fill(to + part.columns.begin, to + part.columns.end, x);
  }
}

/// Copies one view to another of the same shape, or zeros if `from` is null.
void copy(const KernelArgs& a, const TensorView* from, const TensorView& to) {
  const auto bytes = static_cast<std::size_t>(bytes_of_row(to));
  const Range rows = share(rows_of(to), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i)
    if (from != nullptr)
      std::memcpy(row_at(to, i), row_at(*from, i), bytes);
    else
      std::memset(row_at(to, i), 0, bytes);
}

TensorView part(const TensorView& v, i64 axis, i64 begin, i64 end) {
  return terrace::slice(v, static_cast<int>(axis), begin, end);
}

/// x [B, T, h d] in the axes of heads [B, h, T, d].
TensorView by_head(const TensorView& x, const TensorView& heads) {
  TensorView v = heads;
  v.data = x.data;
  v.stride[0] = x.stride[0];
  v.stride[1] = heads.dim[3] * heads.stride[3];
  v.stride[2] = x.stride[1];
  return v;
}

constexpr i64 kTile = 32;

/// to(i, j) = from(j, i) for `rows` <= kTile times `columns` of `to`. The last axes are packed: `from` along i, `to`
/// along j. Tiles are turned on the stack, so that both sides are touched by whole lines.
template <class T>
void turn(const std::byte* from, i64 from_stride, std::byte* to, i64 to_stride, i64 rows, i64 columns) {
  T tile[kTile][kTile];
  for (i64 first = 0; first < columns; first += kTile) {
    const i64 count = std::min(kTile, columns - first);
    for (i64 j = 0; j < count; ++j) {
      const auto* x = reinterpret_cast<const T*>(from + (first + j) * from_stride);
      for (i64 i = 0; i < rows; ++i) tile[i][j] = x[i];
    }
    for (i64 i = 0; i < rows; ++i)
      std::memcpy(reinterpret_cast<T*>(to + i * to_stride) + first, tile[i],
                  static_cast<std::size_t>(count) * sizeof(T));
  }
}

/// `x` as the result sees it: its axes in their new order, the last one with a stride of its own.
void turn_all(const KernelArgs& a, const TensorView& x, int turned) {
  const TensorView& y = a.out[0];
  const int last = y.rank - 1;
  TensorView from = x, to = y;  // without the two axes that change places
  for (TensorView* v : {&from, &to}) v->dim[turned] = v->dim[last] = 1;
  const i64 rows = y.dim[turned], tiles = (rows + kTile - 1) / kTile, element = y.stride[last];
  const Range mine = share(rows_of(to) * tiles, 1, a.worker, a.workers);
  for (i64 unit = mine.begin; unit < mine.end; ++unit) {
    const i64 first = unit % tiles * kTile, count = std::min(kTile, rows - first);
    const std::byte* f = row_at(from, unit / tiles) + first * element;
    std::byte* t = row_at(to, unit / tiles) + first * y.stride[turned];
    const auto by = element == 2 ? turn<std::uint16_t> : element == 4 ? turn<u32> : turn<u64>;
    by(f, x.stride[last], t, y.stride[turned], count, y.dim[last]);
  }
}

}  // namespace

void fill(const KernelArgs& a) { fill_with(a, static_cast<float>(a.floats[0])); }

void spread(const KernelArgs& a) {
  const float s = *reinterpret_cast<const float*>(a.in[1].data);
  fill_with(a, static_cast<float>(a.floats[0] * static_cast<double>(s)));
}

void scatter_rows(const KernelArgs& a) {
  const TensorView& table = a.out[0];
  // By columns: a few rows often have most of the ids.
  const Range columns = share(columns_of(table), 16, a.worker, a.workers);
  const i64 width = columns.end - columns.begin;
  if (width <= 0) return;
  for (i64 r = 0; r < rows_of(table); ++r) {
    float* to = floats_at(table, r) + columns.begin;
    std::fill(to, to + width, 0.0f);
  }
  for (i64 i = 0; i < rows_of(a.in[2]); ++i) {
    i32 id;
    std::memcpy(&id, entry_at(a.in[1], i), 4);
    if (id < 0 || id >= rows_of(table)) continue;
    float* __restrict to = floats_at(table, id) + columns.begin;
    const float* __restrict x = floats_at(a.in[2], i) + columns.begin;
    for (i64 c = 0; c < width; ++c) to[c] += x[c];
  }
}

void cast_same(const KernelArgs& a) { copy(a, a.in, a.out[0]); }
void with_gradient(const KernelArgs& a) { copy(a, a.in, a.out[0]); }

void slice(const KernelArgs& a) {
  const TensorView from = part(a.in[0], a.ints[0], a.ints[1], a.ints[1] + a.ints[2]);
  copy(a, &from, a.out[0]);
}

void pad(const KernelArgs& a) {
  const i64 begin = a.ints[1], end = begin + a.in[0].dim[a.ints[0]];
  copy(a, nullptr, part(a.out[0], a.ints[0], 0, begin));
  copy(a, a.in, part(a.out[0], a.ints[0], begin, end));
  copy(a, nullptr, part(a.out[0], a.ints[0], end, a.ints[2]));
}

void concat(const KernelArgs& a) {
  const i64 cut = a.in[0].dim[a.ints[0]], end = cut + a.in[1].dim[a.ints[0]];
  copy(a, &a.in[0], part(a.out[0], a.ints[0], 0, cut));
  copy(a, &a.in[1], part(a.out[0], a.ints[0], cut, end));
}

void split_heads(const KernelArgs& a) {
  const TensorView from = by_head(a.in[0], a.out[0]);
  copy(a, &from, a.out[0]);
}
void merge_heads(const KernelArgs& a) { copy(a, a.in, by_head(a.out[0], a.in[0])); }

void transpose(const KernelArgs& a) {
  TensorView x = a.in[0];
  int turned = x.rank - 1;  // the result's axis that is the last of x
  for (int i = 0; i < x.rank; ++i) {
    const auto axis = a.ints[0] >> (4 * i) & 15;
    x.dim[i] = a.in[0].dim[axis];
    x.stride[i] = a.in[0].stride[axis];
    if (axis == x.rank - 1) turned = i;
  }
  if (turned == x.rank - 1)
    copy(a, &x, a.out[0]);
  else
    turn_all(a, x, turned);
}

}  // namespace terrace::portable
