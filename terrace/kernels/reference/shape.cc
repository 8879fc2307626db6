// slice, pad, concat, transpose, heads, and windows over images: elements in other places.
#include <cmath>

#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

using Index = i64[kMaxRank];

/// f(index of each position of `v`, its number in row-major order).
template <class F>
void each_index(const TensorView& v, F f) {
  for (i64 i = 0; i < count_of(v); ++i) {
    Index at{};
    i64 rest = i;
    for (int a = v.rank - 1; a >= 0; --a) {
      at[a] = rest % v.dim[a];
      rest /= v.dim[a];
    }
    f(at, i);
  }
}
i64 number_of(const TensorView& v, const Index& at) {
  i64 i = 0;
  for (int a = 0; a < v.rank; ++a) i = i * v.dim[a] + at[a];
  return i;
}

/// f(patch element's number, image element's number or -1 where zeros lie around).
template <class F>
void each_window_element(const TensorView& image, const TensorView& patches, const KernelArgs& a, F f) {
  const i64 s = a.ints[0], t = a.ints[1], z = a.ints[2], height = image.dim[1], width = image.dim[2],
            channels = image.dim[3], across = (width + 2 * z - s) / t + 1;
  each_index(patches, [&](const Index& at, i64 number) {
    const i64 y = at[1] / across * t - z + at[2] / channels / s, x = at[1] % across * t - z + at[2] / channels % s;
    const bool inside = y >= 0 && y < height && x >= 0 && x < width;
    f(number, inside ? ((at[0] * height + y) * width + x) * channels + at[2] % channels : -1);
  });
}

/// f(number of a result of the pool, function over the numbers of its window's elements).
template <class F>
void each_pool(const TensorView& image, const TensorView& pooled, const KernelArgs& a, F f) {
  each_index(pooled, [&](const Index& at, i64 number) {
    f(number, [&, at](auto visit) {
      for (i64 y = 0; y < a.ints[0]; ++y)
        for (i64 x = 0; x < a.ints[0]; ++x)
          visit(number_of(image, Index{at[0], at[1] * a.ints[1] + y, at[2] * a.ints[1] + x, at[3]}));
    });
  });
}

void clear(const TensorView& v) {
  for (i64 i = 0; i < count_of(v); ++i) put_at(v, i, 0);
}
void add_at(const TensorView& v, i64 i, double x) { put_at(v, i, at(v, i) + x); }

/// The first of the largest elements of a window; a NaN counts as the largest.
template <class EachOf>
i64 largest(const TensorView& x, EachOf each_of) {
  i64 best = -1;
  each_of([&](i64 i) {
    if (best < 0 || at(x, i) > at(x, best) || (std::isnan(at(x, i)) && !std::isnan(at(x, best)))) best = i;
  });
  return best;
}

}  // namespace

void slice(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_index(a.out[0], [&](const Index& index, i64 number) {
    Index from{index[0], index[1], index[2], index[3]};
    from[a.ints[0]] += a.ints[1];
    put_at(a.out[0], number, at(a.in[0], number_of(a.in[0], from)));
  });
}
void pad(const KernelArgs& a) {
  if (a.worker != 0) return;
  clear(a.out[0]);
  each_index(a.in[0], [&](const Index& index, i64 number) {
    Index to{index[0], index[1], index[2], index[3]};
    to[a.ints[0]] += a.ints[1];
    put_at(a.out[0], number_of(a.out[0], to), at(a.in[0], number));
  });
}
void concat(const KernelArgs& a) {
  if (a.worker != 0) return;
  for (int t = 0; t < 2; ++t)
    each_index(a.in[t], [&](const Index& index, i64 number) {
      Index to{index[0], index[1], index[2], index[3]};
      if (t == 1) to[a.ints[0]] += a.in[0].dim[a.ints[0]];
      put_at(a.out[0], number_of(a.out[0], to), at(a.in[t], number));
    });
}
void transpose(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_index(a.out[0], [&](const Index& index, i64 number) {
    Index from{};
    for (int i = 0; i < a.out[0].rank; ++i) from[a.ints[0] >> (4 * i) & 15] = index[i];
    put_at(a.out[0], number, at(a.in[0], number_of(a.in[0], from)));
  });
}

void split_heads(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_index(a.out[0], [&](const Index& i, i64 number) {
    put_at(a.out[0], number, at(a.in[0], number_of(a.in[0], Index{i[0], i[2], i[1] * a.out[0].dim[3] + i[3]})));
  });
}
void merge_heads(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_index(a.in[0], [&](const Index& i, i64 number) {
    put_at(a.out[0], number_of(a.out[0], Index{i[0], i[2], i[1] * a.in[0].dim[3] + i[3]}), at(a.in[0], number));
  });
}

void patches(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_window_element(a.in[0], a.out[0], a,
                      [&](i64 patch, i64 image) { put_at(a.out[0], patch, image < 0 ? 0 : at(a.in[0], image)); });
}
void fold(const KernelArgs& a) {
  if (a.worker != 0) return;
  clear(a.out[0]);
  each_window_element(a.out[0], a.in[0], a, [&](i64 patch, i64 image) {
    if (image >= 0) add_at(a.out[0], image, at(a.in[0], patch));
  });
}

void mean_pool(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_pool(a.in[0], a.out[0], a, [&](i64 number, auto each_of) {
    double sum = 0;
    each_of([&](i64 i) { sum += at(a.in[0], i); });
    put_at(a.out[0], number, sum / static_cast<double>(a.ints[0] * a.ints[0]));
  });
}
void max_pool(const KernelArgs& a) {
  if (a.worker != 0) return;
  each_pool(a.in[0], a.out[0], a,
            [&](i64 number, auto each_of) { put_at(a.out[0], number, at(a.in[0], largest(a.in[0], each_of))); });
}
void mean_pool_grad(const KernelArgs& a) {
  if (a.worker != 0) return;
  clear(a.out[0]);
  each_pool(a.in[0], a.in[1], a, [&](i64 number, auto each_of) {
    each_of([&](i64 i) { add_at(a.out[0], i, at(a.in[1], number) / static_cast<double>(a.ints[0] * a.ints[0])); });
  });
}
void max_pool_grad(const KernelArgs& a) {
  if (a.worker != 0) return;
  clear(a.out[0]);
  each_pool(a.in[0], a.in[1], a,
            [&](i64 number, auto each_of) { add_at(a.out[0], largest(a.in[0], each_of), at(a.in[1], number)); });
}

}  // namespace terrace::reference
