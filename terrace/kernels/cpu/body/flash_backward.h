// flash_attention_grad: with s = scale q k^T, p = exp(s - lse) and dp = do v^T,
//   ds = p (dp - D), D = sum(do o) of a row;  dv = p^T do;  dq = scale ds k;  dk = scale ds^T q.
// A worker has all heads of a group to itself. A block of queries with do and dq, as they lie, stays in the cache while
// the keys pass by in tiles: up to a block, each operand is read once and each result written once.
#pragma once

#include "terrace/kernels/cpu/body/flash_tiles.h"
#include "terrace/kernels/cpu/flash.h"

namespace terrace {
namespace {

/// Scratch of a worker.
struct BackwardTiles {
  Panels keys_turned, values_turned, keys, dk, dv;  ///< of a tile of keys
  Panels q, d_o, dq;                                ///< of a tile of queries
  Panels p, ds;                                     ///< of the one against the other
  float *dots, *least;                              ///< of each query of a block: D, and lse in base 2
  i64 key_floats, query_floats;                     ///< in each of the first five; in q, d_o, dq
  static constexpr i64 kPairFloats = kFlashQueries * kFlashKeys;
  explicit BackwardTiles(float* at, const Sizes& z)
      : key_floats(kFlashKeys * z.wide), query_floats(kFlashQueries * z.wide) {
    const auto take = [&at](Panels& x, i64 rows, i64 floats) {
      x = {at, rows * kWidth};
      at += floats;
    };
    for (Panels* x : {&keys_turned, &values_turned}) take(*x, z.size, key_floats);
    for (Panels* x : {&keys, &dk, &dv}) take(*x, kFlashKeys, key_floats);
    for (Panels* x : {&q, &d_o, &dq}) take(*x, kFlashQueries, query_floats);
    for (Panels* x : {&p, &ds}) take(*x, kFlashQueries, kPairFloats);
    dots = at;
    least = at + flash_grad_block(z.size, z.n);
  }
};

/// A block of a head's queries: where its operands begin, or the head's for keys and values.
struct BackwardBlock {
  std::byte *q, *k, *v, *o, *d_o, *dq, *dk, *dv;
  i64 sq, sk, sv, so, sdo, sdq, sdk, sdv;  ///< bytes from row to row
  const float* lse;
  i64 first, rows;  ///< queries
  bool add;         ///< not the group's first head: dk and dv are begun
  BackwardBlock(const KernelArgs& a, const Sizes& z, i64 batch, i64 head, i64 begin, i64 count)
      : first(begin), rows(count) {
    const i64 each = z.heads / z.groups, group = head / each;
    const auto at = [&](const TensorView& x, i64 row, i64 h, i64& stride) {
      stride = x.stride[1];
      return head_at(x, batch, row, h, z.size);
    };
    q = at(a.in[0], first, head, sq);
    k = at(a.in[1], 0, group, sk);
    v = at(a.in[2], 0, group, sv);
    o = at(a.in[3], first, head, so);
    d_o = at(a.in[5], first, head, sdo);
    dq = at(a.out[0], first, head, sdq);
    dk = at(a.out[1], 0, group, sdk);
    dv = at(a.out[2], 0, group, sdv);
    lse = reinterpret_cast<const float*>(a.in[4].data + batch * a.in[4].stride[0] + head * a.in[4].stride[1]) + first;
    add = head % each != 0;
  }
};

template <class Ledger>
[[gnu::noinline]] void start_block(const BackwardBlock& b, const BackwardTiles& w, const Sizes& z, Ledger& ledger) {
  for (i64 i = 0; i < b.rows; ++i) {
    const auto *x = reinterpret_cast<const float*>(b.d_o + i * b.sdo),
               *y = reinterpret_cast<const float*>(b.o + i * b.so);
    w.dots[i] = sum_vectors(
        z.size, [&](i64 c) { return V::mul(load_some(x + c, z.size - c, 0), load_some(y + c, z.size - c, 0)); });
    w.least[i] = b.lse[i] * kLog2E;
    if (z.seen(b.first + i) == 0) std::memset(b.dq + i * b.sdq, 0, static_cast<std::size_t>(4 * z.size));
    ledger.touch(AttentionOperand::d_o, x, 1, 4 * z.size, 0, AttentionLedger::read);
    ledger.touch(AttentionOperand::o, y, 1, 4 * z.size, 0, AttentionLedger::read);
  }
  const i64 none = z.first(0) - b.first;  // rows that see nothing
  ledger.touch(AttentionOperand::d_q, b.dq, none < b.rows ? none : b.rows, 4 * z.size, b.sdq, AttentionLedger::write);
  ledger.touch(AttentionOperand::lse, b.lse, 1, 4 * b.rows, 0, AttentionLedger::read);
  touch_scratch(ledger, w.dots, b.rows, AttentionLedger::write);
  touch_scratch(ledger, w.least, b.rows, AttentionLedger::write);
}

/// Rows i0 .. of the block against the tile of keys at k0.
struct Pair {
  i64 i0, rows, query, k0, count;  ///< `query` is row i0 of the head
  const Sizes& z;
  i64 seen(i64 r) const {  ///< keys of the tile that row r sees
    const i64 keys = z.seen(query + r) - k0;
    return keys < 0 ? 0 : keys < count ? keys : count;
  }
  i64 first(i64 c) const {  ///< the first row that sees key c
    const i64 row = z.first(k0 + c) - query;
    return row < 0 ? 0 : row < rows ? row : rows;
  }
};

/// Scores to p, dp to ds.
[[gnu::noinline]] void soften_pair(const BackwardTiles& w, const Pair& t) {
  for (i64 r = 0; r < t.rows; ++r) {
    const F least = V::set(w.least[t.i0 + r]), dot = V::set(w.dots[t.i0 + r]);
    const i64 seen = t.seen(r);
    for (i64 c = 0; c < seen; c += V::kLanes) {
      float *p = w.p.vector(r, c), *ds = w.ds.vector(r, c);
      const F x = exp2_of(V::sub(V::load(p), least));
      V::store(p, x);
      V::store(ds, V::mul(x, V::sub(V::load(ds), dot)));
    }
  }
}

[[gnu::noinline]] void backward_pair(const BackwardBlock& b, const BackwardTiles& w, const Pair& t) {
  const i64 size = t.z.size;
  std::byte* dq = b.dq + t.i0 * b.sdq;
  pack(b.q + t.i0 * b.sq, b.sq, t.rows, size, t.z.scale * kLog2E, w.q);
  pack(b.d_o + t.i0 * b.sdo, b.sdo, t.rows, size, 1, w.d_o);
  for (i64 c = 0; c < t.count; c += kWidth) {  // rows that see none of a panel's keys are left out
    const i64 left = t.count - c, columns = left < kWidth ? left : kWidth, first = t.first(c), at = c / kWidth;
    const auto panel = [at](Panels x) { return Panels{x.at + at * x.panel, x.panel}; };
    product<Kind::fresh>(first, t.rows, 0, size, columns, w.q, panel(w.keys_turned), panel(w.p));
    product<Kind::fresh>(first, t.rows, 0, size, columns, w.d_o, panel(w.values_turned), panel(w.ds));
  }
  soften_pair(w, t);
  const auto first = [&](i64 c) { return t.first(c); };
  product_from(0, t.count, t.rows, size, w.p, w.d_o, w.dv, first);
  product_from(0, t.count, t.rows, size, w.ds, w.q, w.dk, first);
  if (t.k0 == 0)  // every query that sees any key sees the first
    clear(w.dq, t.rows, size);
  else
    pack(dq, b.sdq, t.rows, size, 1, w.dq);
  product_until(0, t.rows, 0, size, w.ds, w.keys, w.dq, [&](i64 r) { return t.seen(r); });
  unpack(w.dq, t.rows, size, 1, false, dq, b.sdq);
}

/// What backward_pair does, for the ledger.
template <class Ledger>
inline void touch_pair(const BackwardBlock& b, const BackwardTiles& w, const Pair& t, Ledger& ledger) {
  using L = AttentionLedger;
  const i64 bytes = 4 * t.z.size;
  ledger.touch(AttentionOperand::q, b.q + t.i0 * b.sq, t.rows, bytes, b.sq, L::read);
  touch_scratch(ledger, w.q.at, w.query_floats, L::write);
  ledger.touch(AttentionOperand::d_o, b.d_o + t.i0 * b.sdo, t.rows, bytes, b.sdo, L::read);
  touch_scratch(ledger, w.d_o.at, w.query_floats, L::write);
  touch_scratch(ledger, w.keys_turned.at, 2 * w.key_floats, L::read);
  touch_scratch(ledger, w.least + t.i0, t.rows, L::read);
  touch_scratch(ledger, w.dots + t.i0, t.rows, L::read);
  touch_scratch(ledger, w.p.at, 2 * w.kPairFloats, L::write);
  touch_scratch(ledger, w.dk.at, 2 * w.key_floats, L::update);
  touch_scratch(ledger, w.keys.at, w.key_floats, L::read);
  touch_scratch(ledger, w.dq.at, w.query_floats, L::write);
  ledger.touch(AttentionOperand::d_q, b.dq + t.i0 * b.sdq, t.rows, bytes, b.sdq, t.k0 == 0 ? L::write : L::update);
}

/// The tile of keys at k0 against all of the block's queries that see any of it.
template <class Ledger>
inline void backward_keys(const BackwardBlock& b, const BackwardTiles& w, const Sizes& z, i64 k0, Ledger& ledger) {
  using L = AttentionLedger;
  const i64 count = z.m - k0 < kFlashKeys ? z.m - k0 : kFlashKeys, bytes = 4 * z.size;
  std::byte *k = b.k + k0 * b.sk, *v = b.v + k0 * b.sv, *dk = b.dk + k0 * b.sdk, *dv = b.dv + k0 * b.sdv;
  pack_turned(k, b.sk, count, z.size, w.keys_turned);
  pack(k, b.sk, count, z.size, z.scale, w.keys);
  pack_turned(v, b.sv, count, z.size, w.values_turned);
  clear(w.dk, count, z.size);
  clear(w.dv, count, z.size);
  ledger.touch(AttentionOperand::k, k, count, bytes, b.sk, L::read);
  ledger.touch(AttentionOperand::v, v, count, bytes, b.sv, L::read);
  touch_scratch(ledger, w.keys_turned.at, 5 * w.key_floats, L::write);
  const i64 sees = z.first(k0) - b.first;  // at least one row of the block does
  for (i64 i = sees < 0 ? 0 : sees; i < b.rows; i += kFlashQueries) {
    const Pair t{i, b.rows - i < kFlashQueries ? b.rows - i : kFlashQueries, b.first + i, k0, count, z};
    backward_pair(b, w, t);
    touch_pair(b, w, t, ledger);
  }
  const bool add = b.add || sees < 0;                 // an earlier block began it
  unpack(w.dk, count, z.size, kLn2, add, dk, b.sdk);  // packed queries were multiplied by scale / ln 2
  unpack(w.dv, count, z.size, 1, add, dv, b.sdv);
  touch_scratch(ledger, w.dk.at, 2 * w.key_floats, L::read);
  ledger.touch(AttentionOperand::d_k, dk, count, bytes, b.sdk, add ? L::update : L::write);
  ledger.touch(AttentionOperand::d_v, dv, count, bytes, b.sdv, add ? L::update : L::write);
}

template <class Ledger>
inline void backward_block(const BackwardBlock& b, const BackwardTiles& w, const Sizes& z, Ledger& ledger) {
  start_block(b, w, z, ledger);
  const i64 limit = z.seen(b.first + b.rows - 1);
  for (i64 k0 = 0; k0 < limit; k0 += kFlashKeys) backward_keys(b, w, z, k0, ledger);
}

/// Without queries nothing would begin the gradients of the keys and values.
inline void clear_group(const KernelArgs& a, const Sizes& z, i64 group) {
  for (const TensorView* x : {&a.out[1], &a.out[2]})
    for (i64 j = 0; j < z.m; ++j)
      std::memset(head_at(*x, group / z.groups, j, group % z.groups, z.size), 0, static_cast<std::size_t>(4 * z.size));
}

template <class Ledger>
inline void flash_attention_grad_run(const KernelArgs& a, Ledger& ledger) {
  const Sizes z(a);
  const BackwardTiles w(worker_scratch(a), z);
  const i64 each = z.heads / z.groups, most = flash_grad_block(z.size, z.n);
  const Range mine = share(z.batches * z.groups, 1, a.worker, a.workers);
  for (i64 group = mine.begin; group < mine.end && z.n == 0; ++group) clear_group(a, z, group);
  for (i64 h = mine.begin * each; h < mine.end * each; ++h)
    for (i64 first = 0; first < z.n; first += most)
      backward_block(BackwardBlock(a, z, h / z.heads, h % z.heads, first, z.n - first < most ? z.n - first : most), w,
                     z, ledger);
}

inline void flash_attention_grad_body(const KernelArgs& a) {
  NoLedger none;
  flash_attention_grad_run(a, none);
}

}  // namespace
}  // namespace terrace
