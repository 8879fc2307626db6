// flash_attention: blocks of queries, each against all its keys in tiles of 128. flash.h says the order of additions.
#pragma once

#include "terrace/kernels/cpu/body/flash_tiles.h"
#include "terrace/kernels/cpu/flash.h"

namespace terrace {
namespace {

inline constexpr i64 kForwardKeys = 128;

/// Scratch of a worker, and the block of queries in it.
struct ForwardBlock {
  Panels q, sums, keys, values, scores;
  float *top, *weight;  ///< of each query: the largest score so far, in base 2, and the sum of exponentials
  explicit ForwardBlock(float* p, const Sizes& z) {
    const i64 rows = flash_block(z.size, z.n, z.m);
    const auto take = [&p](i64 count) {
      float* at = p;
      p += count;
      return at;
    };
    q = {take(rows * z.wide), rows * kWidth};
    sums = {take(rows * z.wide), rows * kWidth};
    keys = {take(kForwardKeys * z.wide), z.size * kWidth};
    values = {take(kForwardKeys * z.wide), kForwardKeys * kWidth};
    scores = {take(kHigh * kForwardKeys), kHigh * kWidth};
    top = take(rows);
    weight = take(rows);
  }
};

/// `top` is the largest score of query i now: weight and sums so far are brought to it.
inline void raise_top(const ForwardBlock& w, i64 i, float top, i64 size) {
  if (top == w.top[i]) return;
  float shrink[V::kLanes];
  V::store(shrink, exp2_of(V::sub(V::set(w.top[i]), V::set(top))));
  w.weight[i] *= shrink[0];
  for (i64 e = 0; e < size; e += V::kLanes)
    V::store(w.sums.vector(i, e), V::mul(V::load(w.sums.vector(i, e)), V::set(shrink[0])));
  w.top[i] = top;
}

/// `count` scores of row r of a tile to exponentials; maximum, weight and sums of query i brought up to date.
inline void soften_row(const ForwardBlock& w, i64 r, i64 i, i64 count, i64 size) {
  F m = V::set(w.top[i]);
  i64 c = 0;
  for (; c + V::kLanes <= count; c += V::kLanes) m = V::max(V::load(w.scores.vector(r, c)), m);
  if (c < count) {  // what lies behind gives 0
    const F x = V::first(V::load(w.scores.vector(r, c)), static_cast<int>(count - c), -__builtin_inff());
    V::store(w.scores.vector(r, c), x);
    m = V::max(x, m);
  }
  const float top = V::top(m);
  raise_top(w, i, top, size);
  F even = V::set(0), odd = V::set(0);
  const auto soften = [top](float* p) {
    const F x = exp2_of(V::sub(V::load(p), V::set(top)));
    V::store(p, x);
    return x;
  };
  for (c = 0; c < count; c += kWidth) {
    float* p = w.scores.vector(r, c);
    even = V::add(even, soften(p));
    if (c + V::kLanes < count) odd = V::add(odd, soften(p + V::kLanes));
  }
  w.weight[i] += V::sum(V::add(even, odd));
}

/// Queries first .. first + rows - 1 against the tile of `count` keys at k0.
[[gnu::noinline]] void attend_tile(const ForwardBlock& w, const Sizes& z, i64 first, i64 rows, i64 k0, i64 count) {
  const auto seen = [&](i64 i) {
    const i64 keys = z.seen(first + i) - k0;
    return keys < 0 ? 0 : keys < count ? keys : count;
  };
  i64 i = z.first(k0) > first ? z.first(k0) - first : 0;  // those before see nothing of it
  for (i64 step; i < rows; i += step) {
    step = rows - i < kHigh ? rows - i : kHigh;
    const i64 columns = seen(i + step - 1);
    product<Kind::fresh>(0, step, 0, z.size, columns, w.q.from(i), w.keys, w.scores);
    for (i64 r = 0; r < step; ++r) soften_row(w, r, i + r, seen(i + r), z.size);
    product_until(0, step, 0, z.size, w.scores, w.values, w.sums.from(i), [&](i64 r) { return seen(i + r); });
  }
}

/// T: of the result.
template <class T = float, class Ledger>
inline void finish_block(const KernelArgs& a, const ForwardBlock& w, const Sizes& z, i64 batch, i64 head, i64 first,
                         i64 rows, Ledger& ledger) {
  const TensorView &o = a.out[0], &lse = a.out[1];
  auto* to = reinterpret_cast<float*>(lse.data + batch * lse.stride[0] + head * lse.stride[1]) + first;
  for (i64 i = 0; i < rows; ++i) {
    const bool none = z.seen(first + i) == 0;
    const F share_of_one = V::set(none ? 0.0f : 1.0f / w.weight[i]);
    auto* p = reinterpret_cast<T*>(head_at(o, batch, first + i, head, z.size));
    for (i64 c = 0; c < z.size; c += V::kLanes)
      store_some(p + c, z.size - c, V::mul(V::load(w.sums.vector(i, c)), share_of_one));
    to[i] = none ? -__builtin_inff()
                 : static_cast<float>(double{w.top[i]} * 0.693147180559945309 + __builtin_log(double{w.weight[i]}));
  }
  touch_scratch(ledger, w.sums.at, rows * z.wide, AttentionLedger::read);
  ledger.touch(AttentionOperand::o, head_at(o, batch, first, head, z.size), rows, 4 * z.size, o.stride[1],
               AttentionLedger::write);
  ledger.touch(AttentionOperand::lse, to, 1, 4 * rows, 0, AttentionLedger::write);
}

template <class Ledger>
inline void forward_block(const KernelArgs& a, const ForwardBlock& w, const Sizes& z, i64 batch, i64 head, i64 first,
                          i64 rows, Ledger& ledger) {
  using L = AttentionLedger;
  const TensorView &q = a.in[0], &k = a.in[1], &v = a.in[2];
  const i64 group = head / (z.heads / z.groups), limit = z.seen(first + rows - 1), bytes = 4 * z.size;
  const std::byte* queries = head_at(q, batch, first, head, z.size);
  pack(queries, q.stride[1], rows, z.size, z.scale * kLog2E, w.q);
  clear(w.sums, rows, z.size);
  for (i64 i = 0; i < rows; ++i) {
    w.top[i] = -__builtin_inff();
    w.weight[i] = 0;
  }
  ledger.touch(AttentionOperand::q, queries, rows, bytes, q.stride[1], L::read);
  touch_scratch(ledger, w.q.at, rows * z.wide, L::write);
  for (i64 k0 = 0; k0 < limit; k0 += kForwardKeys) {
    const i64 count = limit - k0 < kForwardKeys ? limit - k0 : kForwardKeys;
    const std::byte *keys = head_at(k, batch, k0, group, z.size), *values = head_at(v, batch, k0, group, z.size);
    pack_turned(keys, k.stride[1], count, z.size, w.keys);
    pack(values, v.stride[1], count, z.size, 1, w.values);
    attend_tile(w, z, first, rows, k0, count);
    ledger.touch(AttentionOperand::k, keys, count, bytes, k.stride[1], L::read);
    touch_scratch(ledger, w.keys.at, kForwardKeys * z.wide, L::write);
    ledger.touch(AttentionOperand::v, values, count, bytes, v.stride[1], L::read);
    touch_scratch(ledger, w.values.at, kForwardKeys * z.wide, L::write);
    touch_scratch(ledger, w.q.at, rows * z.wide, L::read);
    touch_scratch(ledger, w.scores.at, kHigh * kForwardKeys, L::write);
    touch_scratch(ledger, w.sums.at, rows * z.wide, L::update);
    touch_scratch(ledger, w.top, 2 * rows, L::update);
  }
  finish_block(a, w, z, batch, head, first, rows, ledger);
}

/// f(batch, head, first, rows) for the blocks of this worker, which begin at multiples of `unit` (a divisor of 48).
/// Blocks are dealt out in order, in shares of about the same number of keys to look at.
template <class Fn>
inline void each_block(const KernelArgs& a, const Sizes& z, i64 unit, Fn f) {
  const i64 all = z.batches * z.heads, room = flash_block(z.size, z.n, z.m);
  const i64 most = room < z.n ? room / unit * unit : room;
  const i64 few = (all * z.n / (4 * a.workers) + 48) / 48 * 48;  // so that each worker gets some; whole lines of lse
  const i64 rows = a.workers > 1 && few < most ? few : most;
  const auto cost = [&](i64 first) {
    const i64 stop = first + rows < z.n ? first + rows : z.n;
    return (stop - first) * (z.seen(stop - 1) + 64);
  };
  i64 whole = 0, before = 0;
  for (i64 first = 0; first < z.n; first += rows) whole += cost(first);
  for (i64 h = 0; h < all; ++h)
    for (i64 first = 0; first < z.n; first += rows) {
      // The block's middle decides: its owner is the same for all workers.
      const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(cost(first));
      before += cost(first);
      if (static_cast<int>(middle * a.workers / (static_cast<double>(whole) * static_cast<double>(all))) != a.worker)
        continue;
      f(h / z.heads, h % z.heads, first, (first + rows < z.n ? first + rows : z.n) - first);
    }
}

template <class Ledger>
inline void flash_attention_run(const KernelArgs& a, Ledger& ledger) {
  const Sizes z(a);
  const ForwardBlock w(worker_scratch(a), z);
  each_block(a, z, 1, [&](i64 batch, i64 head, i64 first, i64 rows) {
    forward_block(a, w, z, batch, head, first, rows, ledger);
  });
}

inline void flash_attention_body(const KernelArgs& a) {
  NoLedger none;
  flash_attention_run(a, none);
}

}  // namespace
}  // namespace terrace
