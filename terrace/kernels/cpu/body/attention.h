// attention: online softmax over tiles of 64 keys (Milakov & Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv
// 2205.14135), several pairs of a row and a head against one tile.
//
// Bits of a pair, whichever pairs are done together: a score is one chain of multiply-adds over the head's elements in
// rising order; tiles begin at multiples of 64 keys; within a tile exponentials are summed by lanes (4 sums, as
// kernels.h says); an output is one chain over the keys in rising order, scaled when the running maximum grows.
// Keys that a row may not see never touch it.
//
// Scratch of a worker: 2 x 64 x round_up(head, 16) floats and 16 KiB (a tile, the sums, the scores).
#pragma once

#include "terrace/kernels/cpu/body/cache.h"
#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/kernel.h"

namespace terrace {
namespace {

inline constexpr int kPairs = 48;  ///< pairs done together: 48 x 64 scores and their sums fit in 16 KiB

/// c[r][..] (+)= sum over t < n of a[r][t] * b[t * ldb + ..], one chain each, R rows by N vectors of columns.
template <int R, int N>
inline void multiply_tile(const float* const* a, i64 n, const float* b, i64 ldb, float* const* c, i64 column,
                          bool add) {
  F s[R][N];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < N; ++v) s[r][v] = add ? V::load(c[r] + column + v * V::kLanes) : V::set(0);
  b += column;
  for (i64 t = 0; t < n; ++t, b += ldb) {
    // R N sums stay in registers, with the fewer of the two factors.
    if constexpr (R < N) {
      F x[R];
      for (int r = 0; r < R; ++r) x[r] = V::set(a[r][t]);
      for (int v = 0; v < N; ++v) {
        const F w = V::load(b + v * V::kLanes);
        for (int r = 0; r < R; ++r) s[r][v] = V::fma(x[r], w, s[r][v]);
      }
    } else {
      F w[N];
      for (int v = 0; v < N; ++v) w[v] = V::load(b + v * V::kLanes);
      for (int r = 0; r < R; ++r) {
        const F x = V::set(a[r][t]);
        for (int v = 0; v < N; ++v) s[r][v] = V::fma(x, w[v], s[r][v]);
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < N; ++v) V::store(c[r] + column + v * V::kLanes, s[r][v]);
}

template <int R, int N>
inline void multiply_rows(const float* const* a, i64 n, const float* b, i64 ldb, float* const* c, i64 columns,
                          bool add) {
  i64 column = 0;
  for (; column + N * V::kLanes <= columns; column += N * V::kLanes) multiply_tile<R, N>(a, n, b, ldb, c, column, add);
  for (; column < columns; column += V::kLanes) multiply_tile<R, 1>(a, n, b, ldb, c, column, add);
}

/// Rows that fit together next, and their product. `columns` is a multiple of 16.
inline int step_of(int rows) { return rows >= 6 ? 6 : rows >= 3 ? 3 : rows; }
inline void multiply(int rows, const float* const* a, i64 n, const float* b, i64 ldb, float* const* c, i64 columns,
                     bool add) {
  switch (rows) {
    case 6: return multiply_rows<6, 2>(a, n, b, ldb, c, columns, add);
    case 3: return multiply_rows<3, 4>(a, n, b, ldb, c, columns, add);
    case 2: return multiply_rows<2, 4>(a, n, b, ldb, c, columns, add);
    default: return multiply_rows<1, 4>(a, n, b, ldb, c, columns, add);
  }
}

/// The pairs done together, their keys' limits rising.
struct Work {
  const float* q[kPairs];
  float* out[kPairs];     ///< where the result goes
  float* scores[kPairs];  ///< 64 each
  float* sums[kPairs];    ///< `padded` each
  i64 limit[kPairs];      ///< keys that the pair sees
  float top[kPairs], weight[kPairs];
  int count = 0;
  i64 size = 0, padded = 0;
};

/// Scores of a tile to exponentials; the running maximum, weight and sums of a pair brought up to date.
inline void soften(Work& w, int p, int count, float scale) {
  float* s = w.scores[p];
  const float infinity = __builtin_inff();
  F m = V::set(w.top[p]);
  for (int c = 0; c < count; c += V::kLanes) {
    const F x = V::first(V::mul(V::load(s + c), V::set(scale)), count - c, -infinity);
    V::store(s + c, x);
    m = V::max(x, m);
  }
  const float top = V::top(m);
  if (top != w.top[p]) {
    float shrink[V::kLanes];
    V::store(shrink, exp_of(V::sub(V::set(w.top[p]), V::set(top))));
    w.weight[p] *= shrink[0];
    const F factor = V::set(shrink[0]);
    for (i64 e = 0; e < w.padded; e += V::kLanes) V::store(w.sums[p] + e, V::mul(V::load(w.sums[p] + e), factor));
    w.top[p] = top;
  }
  w.weight[p] += sum_vectors(count, [&](i64 c) {
    const F x = exp_of(V::sub(V::load(s + c), V::set(top)));
    V::store(s + c, x);
    return x;
  });
}

/// Keys of the tile at k0 that pair p sees.
inline int visible(const Work& w, int p, i64 k0) {
  const i64 n = w.limit[p] - k0;
  return n >= kKeys ? kKeys : n <= 0 ? 0 : static_cast<int>(n);
}

template <class Cache>
inline void attend(Work& w, const KernelArgs& a, i64 first, float* tile) {
  const auto scale = static_cast<float>(a.floats[0]);
  for (int p = 0; p < w.count; ++p) {
    w.top[p] = -__builtin_inff();
    w.weight[p] = 0;
    for (i64 e = 0; e < w.padded; ++e) w.sums[p][e] = 0;
  }
  int begin = 0;  // pairs before it see no more keys
  for (i64 k0 = 0; k0 < w.limit[w.count - 1]; k0 += kKeys) {
    while (visible(w, begin, k0) == 0) ++begin;
    const int n = visible(w, w.count - 1, k0);
    load_keys<Cache>(a.in[1], k0, n, first, w.size, tile);
    for (int p = begin, step; p < w.count; p += step) {
      step = step_of(w.count - p);
      const i64 columns = (visible(w, p + step - 1, k0) + 15) / 16 * 16;
      multiply(step, w.q + p, w.size, tile, kKeys, w.scores + p, columns, false);
      for (int r = 0; r < step; ++r) soften(w, p + r, visible(w, p + r, k0), scale);
    }
    load_values<Cache>(a.in[2], k0, n, first, w.size, w.padded, tile);
    for (int p = begin, step; p < w.count; p += step) {
      step = step_of(w.count - p);
      const int common = visible(w, p, k0);
      multiply(step, w.scores + p, common, tile, w.padded, w.sums + p, w.padded, true);
      for (int r = 1; r < step; ++r) {  // the diagonal: later rows see some keys more
        const int more = visible(w, p + r, k0) - common;
        const float* rest = w.scores[p + r] + common;
        if (more > 0) multiply(1, &rest, more, tile + common * w.padded, w.padded, w.sums + p + r, w.padded, true);
      }
    }
  }
  for (int p = 0; p < w.count; ++p) {
    const F share_of_one = V::set(1.0f / w.weight[p]);
    for (i64 e = 0; e < w.size; e += V::kLanes)
      store_some(w.out[p] + e, w.size - e, V::mul(V::load(w.sums[p] + e), share_of_one));
  }
}

/// Pairs [begin, end) of a group, counted row by row.
template <class Cache>
inline void attend_pairs(const KernelArgs& a, i64 group, i64 begin, i64 end) {
  const TensorView &q = a.in[0], &out = a.out[0];
  const i64 each = a.ints[0] / a.ints[1], size = q.dim[1] / a.ints[0], padded = (size + 15) / 16 * 16;
  const u64 own = a.scratch_bytes / static_cast<u64>(a.workers) / 64 * 64;
  auto* tile = reinterpret_cast<float*>(a.scratch + own * static_cast<u64>(a.worker));
  float *sums = tile + kKeys * padded, *scores = sums + kKeys * padded;
  Work w;
  w.size = size;
  w.padded = padded;
  for (; begin < end; begin += w.count) {
    w.count = static_cast<int>(end - begin < kPairs ? end - begin : kPairs);
    for (int p = 0; p < w.count; ++p) {
      const i64 row = (begin + p) / each, column = (group * each + (begin + p) % each) * size;
      w.q[p] = floats_at(q, row) + column;
      w.out[p] = floats_at(out, row) + column;
      w.scores[p] = scores + kKeys * p;
      w.sums[p] = sums + padded * p;
      w.limit[p] = a.sym[0] + row + 1;
    }
    attend<Cache>(w, a, group * size, tile);
  }
}

/// Many pairs: chunks are dealt out in turn, since later rows see more keys. Few: each worker has one run of them.
template <class Cache>
inline void attention_body(const KernelArgs& a) {
  const i64 groups = a.ints[1], pairs = a.in[0].dim[0] * (a.ints[0] / groups);  // of one group
  const i64 chunks = (pairs + kPairs - 1) / kPairs;
  if (chunks >= 2 * a.workers) {
    for (i64 c = 0; c < chunks; ++c)
      for (i64 g = 0; g < groups; ++g) {
        if ((c * groups + g) % a.workers != a.worker) continue;
        const i64 end = (c + 1) * kPairs;
        attend_pairs<Cache>(a, g, c * kPairs, end < pairs ? end : pairs);
      }
    return;
  }
  const Range mine = share(groups * pairs, 1, a.worker, a.workers);
  for (i64 g = 0; g < groups; ++g) {
    const i64 begin = mine.begin - g * pairs, end = mine.end - g * pairs;
    attend_pairs<Cache>(a, g, begin > 0 ? begin : 0, end < pairs ? end : pairs);
  }
}

}  // namespace
}  // namespace terrace
