// patches, fold and pools: windows over images [batch, height, width, channels].
#include <algorithm>
#include <cstring>

#include "terrace/kernels/cpu/training.h"
#include "terrace/kernels/rows.h"

namespace terrace::portable {
namespace {

std::byte* pixel(const TensorView& v, i64 b, i64 y, i64 x) {
  return v.data + b * v.stride[0] + y * v.stride[1] + x * v.stride[2];
}
float* floats_of_pixel(const TensorView& v, i64 b, i64 y, i64 x) { return reinterpret_cast<float*>(pixel(v, b, y, x)); }

/// The part of a window of `size` at `begin` that lies within [0, extent), counted from its begin.
Range inside(i64 begin, i64 size, i64 extent) {
  return {std::max<i64>(0, -begin), std::max<i64>(0, std::min(size, extent - begin))};
}
i64 windows(i64 extent, i64 size, i64 stride, i64 zeros) { return (extent + 2 * zeros - size) / stride + 1; }

/// What one worker has of images: some of them, or some channels of all where there are fewer images than workers.
Part images_of(const KernelArgs& a, const TensorView& v) {
  return part_of(v.dim[0], v.dim[3], 16, a.worker, a.workers);
}

void set_zero(const TensorView& v, i64 b, Range channels) {
  for (i64 y = 0; y < v.dim[1]; ++y)
    for (i64 x = 0; x < v.dim[2]; ++x) {
      float* p = floats_of_pixel(v, b, y, x);
      std::fill(p + channels.begin, p + channels.end, 0.0f);
    }
}

void add_to(float* __restrict to, const float* __restrict x, i64 n) {
  for (i64 c = 0; c < n; ++c) to[c] += x[c];
}

/// One window's row of `size` pixels to its place in a patch, zeros where the image ends.
void copy_window_row(const TensorView& x, i64 b, i64 y, i64 first, i64 size, std::byte* to) {
  const i64 each = bytes_of_row(x);
  const Range in = y >= 0 && y < x.dim[1] ? inside(first, size, x.dim[2]) : Range{size, size};
  const i64 begin = std::min(in.begin, size), end = std::max(begin, in.end);
  std::memset(to, 0, static_cast<std::size_t>(begin * each));
  if (begin < end && x.stride[2] == each)
    std::memcpy(to + begin * each, pixel(x, b, y, first + begin), static_cast<std::size_t>((end - begin) * each));
  else
    for (i64 k = begin; k < end; ++k)
      std::memcpy(to + k * each, pixel(x, b, y, first + k), static_cast<std::size_t>(each));
  std::memset(to + end * each, 0, static_cast<std::size_t>((size - end) * each));
}

/// Calls f(oy, ox) for every window of a pooled view, row by row.
template <class Fn>
void each_window(const TensorView& pooled, Fn f) {
  for (i64 y = 0; y < pooled.dim[1]; ++y)
    for (i64 x = 0; x < pooled.dim[2]; ++x) f(y, x);
}

}  // namespace

void patches(const KernelArgs& a) {
  const TensorView &x = a.in[0], &out = a.out[0];
  const i64 s = a.ints[0], t = a.ints[1], z = a.ints[2];
  const i64 across = windows(x.dim[2], s, t, z), row = s * bytes_of_row(x);
  const Range mine = share(rows_of(out), 1, a.worker, a.workers);
  for (i64 i = mine.begin; i < mine.end; ++i) {
    const i64 b = i / out.dim[1], p = i % out.dim[1];
    for (i64 k = 0; k < s; ++k)
      copy_window_row(x, b, p / across * t - z + k, p % across * t - z, s, row_at(out, i) + k * row);
  }
}

void fold(const KernelArgs& a) {
  const TensorView &in = a.in[0], &out = a.out[0];
  const i64 s = a.ints[0], t = a.ints[1], z = a.ints[2], c = out.dim[3];
  const i64 across = windows(out.dim[2], s, t, z);
  const Part part = images_of(a, out);
  const Range channels = part.columns;
  const i64 width = channels.end - channels.begin;
  if (width <= 0) return;
  const bool runs = width == c && out.stride[2] == 4 * c;  // pixels of a window's row lie packed in both
  for (i64 b = part.rows.begin; b < part.rows.end; ++b) {
    set_zero(out, b, channels);
    for (i64 p = 0; p < in.dim[1]; ++p) {
      const i64 top = p / across * t - z, left = p % across * t - z;
      const Range rows = inside(top, s, out.dim[1]), columns = inside(left, s, out.dim[2]);
      const float* from = floats_at(in, b * in.dim[1] + p) + channels.begin;
      for (i64 y = rows.begin; y < rows.end; ++y)
        if (runs && columns.begin < columns.end)
          add_to(floats_of_pixel(out, b, top + y, left + columns.begin), from + (y * s + columns.begin) * c,
                 (columns.end - columns.begin) * c);
        else
          for (i64 x = columns.begin; x < columns.end; ++x)
            add_to(floats_of_pixel(out, b, top + y, left + x) + channels.begin, from + (y * s + x) * c, width);
    }
  }
}

void mean_pool(const KernelArgs& a) {
  const TensorView &in = a.in[0], &out = a.out[0];
  const i64 s = a.ints[0], t = a.ints[1], c = out.dim[3];
  const float by = 1.0f / static_cast<float>(s * s);
  const Range mine = share(rows_of(out), 1, a.worker, a.workers);
  for (i64 i = mine.begin; i < mine.end; ++i) {
    const i64 x = i % out.dim[2], y = i / out.dim[2] % out.dim[1], b = i / out.dim[2] / out.dim[1];
    float* to = floats_at(out, i);
    std::fill(to, to + c, 0.0f);
    for (i64 k = 0; k < s * s; ++k) add_to(to, floats_of_pixel(in, b, y * t + k / s, x * t + k % s), c);
    for (i64 e = 0; e < c; ++e) to[e] *= by;
  }
}

void max_pool(const KernelArgs& a) {
  const TensorView &in = a.in[0], &out = a.out[0];
  const i64 s = a.ints[0], t = a.ints[1], c = out.dim[3];
  const Range mine = share(rows_of(out), 1, a.worker, a.workers);
  for (i64 i = mine.begin; i < mine.end; ++i) {
    const i64 x = i % out.dim[2], y = i / out.dim[2] % out.dim[1], b = i / out.dim[2] / out.dim[1];
    float* __restrict to = floats_at(out, i);
    std::memcpy(to, pixel(in, b, y * t, x * t), static_cast<std::size_t>(4 * c));
    for (i64 k = 1; k < s * s; ++k) {
      const float* __restrict from = floats_of_pixel(in, b, y * t + k / s, x * t + k % s);
      for (i64 e = 0; e < c; ++e) to[e] = to[e] >= from[e] || to[e] != to[e] ? to[e] : from[e];  // a NaN wins
    }
  }
}

void mean_pool_grad(const KernelArgs& a) {
  const TensorView &dy = a.in[1], &dx = a.out[0];
  const i64 s = a.ints[0], t = a.ints[1];
  const float by = 1.0f / static_cast<float>(s * s);
  const Part part = images_of(a, dx);
  for (i64 b = part.rows.begin; b < part.rows.end; ++b) {
    set_zero(dx, b, part.columns);
    each_window(dy, [&](i64 y, i64 x) {
      const float* __restrict from = floats_of_pixel(dy, b, y, x);
      for (i64 k = 0; k < s * s; ++k) {
        float* __restrict to = floats_of_pixel(dx, b, y * t + k / s, x * t + k % s);
        for (i64 c = part.columns.begin; c < part.columns.end; ++c) to[c] += by * from[c];
      }
    });
  }
}

void max_pool_grad(const KernelArgs& a) {
  const TensorView &in = a.in[0], &dy = a.in[1], &dx = a.out[0];
  const i64 s = a.ints[0], t = a.ints[1];
  const Part part = images_of(a, dx);
  for (i64 b = part.rows.begin; b < part.rows.end; ++b) {
    set_zero(dx, b, part.columns);
    each_window(dy, [&](i64 y, i64 x) {
      const float* from = floats_of_pixel(dy, b, y, x);
      for (i64 c = part.columns.begin; c < part.columns.end; ++c) {
        const auto at = [&](i64 k) { return floats_of_pixel(in, b, y * t + k / s, x * t + k % s)[c]; };
        i64 best = 0;
        float most = at(0);
        for (i64 k = 1; k < s * s; ++k)
          if (const float v = at(k); !(most >= v) && most == most) best = k, most = v;  // as max_pool chooses
        floats_of_pixel(dx, b, y * t + best / s, x * t + best % s)[c] += from[c];
      }
    });
  }
}

}  // namespace terrace::portable
