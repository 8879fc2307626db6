// flash_attention_grad of bf16, with s = scale q k^T, p = exp(s - lse), dp = do v^T and ds = p (dp - D), D = sum(do o):
//   dv = p^T do;  dq = scale ds k;  dk = scale ds^T q.
// p and ds are rounded to bf16 for the products. A worker has all heads of a group to itself. Keys pass in tiles, each
// against all queries of a head, whose gradients stay in f32 until the last.
#pragma once

#include "terrace/kernels/cpu/body/flash_slots.h"
#include "terrace/kernels/cpu/flash.h"

namespace terrace {
namespace {

/// Scratch of a worker.
template <class S>
struct HalfTiles {
  static constexpr i64 kPairFloats = kFlashQueries * kFlashKeys;
  Panels keys_turned, values_turned, keys;  ///< of a tile of keys: slots; `keys` across
  Panels dk, dv;
  Panels q, q_across, d_o, d_o_across;  ///< of a tile of queries
  Panels scores, slopes;                ///< of the one against the other: s, then dp
  Panels p_across, ds_across, ds;       ///< and as slots
  Panels dq;                            ///< of all queries of a head
  float *dots, *least;                  ///< of each of them: D, and lse in base 2
  HalfTiles(float* at, const Sizes& z) {
    const auto take = [&at](Panels& x, i64 panel, i64 floats) {
      x = {at, panel * kWidth};
      at += floats;
    };
    const i64 turned = (slots_of<S>(z.size) + 15) / 16 * 16, n = z.n;
    take(keys_turned, turned, kFlashKeys * z.wide);
    take(values_turned, turned, kFlashKeys * z.wide);
    for (Panels* x : {&keys, &dk, &dv}) take(*x, kFlashKeys, kFlashKeys * z.wide);
    for (Panels* x : {&q, &q_across, &d_o, &d_o_across}) take(*x, kFlashQueries, kFlashQueries * z.wide);
    for (Panels* x : {&scores, &slopes, &p_across, &ds_across, &ds}) take(*x, kFlashQueries, kPairFloats);
    take(dq, n, n * z.wide);
    dots = at;
    least = at + n;
  }
};

/// Where a head's operands begin, and its group's.
struct HalfHead {
  std::byte *q, *k, *v, *o, *d_o, *dq, *dk, *dv;
  i64 sq, sk, sv, so, sdo, sdq, sdk, sdv;  ///< bytes from row to row
  const float* lse;
  bool add;  ///< not the group's first head: dk and dv are begun
  HalfHead(const KernelArgs& a, const Sizes& z, i64 batch, i64 head) {
    const i64 each = z.heads / z.groups, group = head / each;
    const auto at = [&](const TensorView& x, i64 h, i64& stride) {
      stride = x.stride[1];
      return head_at(x, batch, 0, h, z.size);
    };
    q = at(a.in[0], head, sq);
    k = at(a.in[1], group, sk);
    v = at(a.in[2], group, sv);
    o = at(a.in[3], head, so);
    d_o = at(a.in[5], head, sdo);
    dq = at(a.out[0], head, sdq);
    dk = at(a.out[1], group, sdk);
    dv = at(a.out[2], group, sdv);
    lse = reinterpret_cast<const float*>(a.in[4].data + batch * a.in[4].stride[0] + head * a.in[4].stride[1]);
    add = head % each != 0;
  }
};

template <class S>
[[gnu::noinline]] void start_head(const HalfHead& b, const HalfTiles<S>& w, const Sizes& z) {
  for (i64 i = 0; i < z.n; ++i) {
    const Bf16 *x = bf16_at(b.d_o, i, b.sdo), *y = bf16_at(b.o, i, b.so);
    w.dots[i] = sum_vectors(
        z.size, [&](i64 c) { return V::mul(load_some(x + c, z.size - c, 0), load_some(y + c, z.size - c, 0)); });
    w.least[i] = b.lse[i] * kLog2E;
  }
  clear(w.dq, z.n, z.size);
}

/// Scores and dp of `rows` queries from query i0 on against the keys from k0 on, of which `columns` are seen by any, to
/// p and ds as slots. What a query does not see has weight 0.
template <class S>
[[gnu::noinline]] void soften_slots_pair(const HalfTiles<S>& w, const Sizes& z, i64 i0, i64 rows, i64 k0, i64 columns) {
  constexpr i64 kRows = S::kEntries;
  const F factor = V::set(z.scale * kLog2E);
  for (i64 r = 0; r < rows; r += kRows)
    for (i64 c = 0; c < columns; c += S::kEntries * V::kLanes) {
      F p[S::kEntries][kRows], ds[S::kEntries][kRows];  // by vectors of the slot, by rows
      for (i64 y = 0; y < kRows; ++y) {
        const bool there = r + y < rows;
        const i64 i = there ? i0 + r + y : i0 + r, seen = z.seen(i) - k0;
        const F least = V::set(w.least[i]), dot = V::set(w.dots[i]);
        F along[S::kEntries];
        for (i64 t = 0; t < S::kEntries; ++t) {
          const i64 at = c + t * V::kLanes;
          if (!there || at >= seen || at >= columns) {
            p[t][y] = ds[t][y] = along[t] = V::set(0);
            continue;
          }
          F x = exp2_of(V::fma(V::load(w.scores.vector(r + y, at)), factor, V::sub(V::set(0), least)));
          F d = V::mul(x, V::sub(V::load(w.slopes.vector(r + y, at)), dot));
          if (at + V::kLanes > seen) {
            x = V::first(x, static_cast<int>(seen - at), 0);
            d = V::first(d, static_cast<int>(seen - at), 0);
          }
          p[t][y] = x;
          ds[t][y] = along[t] = d;
        }
        if (there) V::store(w.ds.vector(r + y, c / S::kEntries), S::along(along));
      }
      for (i64 t = 0; t < S::kEntries && c + t * V::kLanes < columns; ++t) {
        V::store(w.p_across.vector(r / kRows, c + t * V::kLanes), S::across(p[t]));
        V::store(w.ds_across.vector(r / kRows, c + t * V::kLanes), S::across(ds[t]));
      }
    }
}

template <class S>
[[gnu::noinline]] void half_pair(const HalfHead& b, const HalfTiles<S>& w, const Sizes& z, i64 i0, i64 rows, i64 k0,
                                 i64 columns) {
  const std::byte *q = b.q + i0 * b.sq, *d_o = b.d_o + i0 * b.sdo;
  const i64 size = z.size, inner = slots_of<S>(size), queries = slots_of<S>(rows);
  pack_along<S>(q, b.sq, rows, size, w.q);
  pack_across<S>(q, b.sq, rows, size, w.q_across);
  pack_along<S>(d_o, b.sdo, rows, size, w.d_o);
  pack_across<S>(d_o, b.sdo, rows, size, w.d_o_across);
  product<Kind::fresh, S>(0, rows, 0, inner, columns, w.q, w.keys_turned, w.scores);
  product<Kind::fresh, S>(0, rows, 0, inner, columns, w.d_o, w.values_turned, w.slopes);
  soften_slots_pair<S>(w, z, i0, rows, k0, columns);
  product<Kind::turned, S>(0, columns, 0, queries, size, w.p_across, w.d_o_across, w.dv);
  product<Kind::turned, S>(0, columns, 0, queries, size, w.ds_across, w.q_across, w.dk);
  product<Kind::add, S>(0, rows, 0, slots_of<S>(columns), size, w.ds, w.keys, w.dq.from(i0));
}

template <class S>
inline void half_backward_head(const HalfHead& b, const HalfTiles<S>& w, const Sizes& z) {
  start_head<S>(b, w, z);
  for (i64 k0 = 0; k0 < z.m; k0 += kFlashKeys) {
    const i64 count = z.m - k0 < kFlashKeys ? z.m - k0 : kFlashKeys;
    const std::byte *k = b.k + k0 * b.sk, *v = b.v + k0 * b.sv;
    pack_slots_turned<S>(k, b.sk, count, z.size, w.keys_turned);
    pack_slots_turned<S>(v, b.sv, count, z.size, w.values_turned);
    pack_across<S>(k, b.sk, count, z.size, w.keys);
    clear(w.dk, count, z.size);
    clear(w.dv, count, z.size);
    for (i64 i = z.first(k0) / kFlashQueries * kFlashQueries; i < z.n; i += kFlashQueries) {
      const i64 rows = z.n - i < kFlashQueries ? z.n - i : kFlashQueries, keys = z.seen(i + rows - 1) - k0;
      if (keys > 0) half_pair<S>(b, w, z, i, rows, k0, keys < count ? keys : count);
    }
    unpack<Bf16>(w.dk, count, z.size, z.scale, b.add, b.dk + k0 * b.sdk, b.sdk);
    unpack<Bf16>(w.dv, count, z.size, 1, b.add, b.dv + k0 * b.sdv, b.sdv);
  }
  unpack<Bf16>(w.dq, z.n, z.size, z.scale, false, b.dq, b.sdq);
}

template <class S>
inline void flash_attention_grad_bf16_body(const KernelArgs& a) {
  const Sizes z(a);
  const HalfTiles<S> w(worker_scratch(a), z);
  const i64 each = z.heads / z.groups;
  const Range mine = share(z.batches * z.groups, 1, a.worker, a.workers);
  for (i64 h = mine.begin * each; h < mine.end * each; ++h)
    half_backward_head<S>(HalfHead(a, z, h / z.heads, h % z.heads), w, z);
}

}  // namespace
}  // namespace terrace
