// flash_attention of bf16: blocks of queries, each against all its keys in tiles of 128. flash.h says what is rounded.
#pragma once

#include "terrace/kernels/cpu/body/flash_forward.h"
#include "terrace/kernels/cpu/body/flash_slots.h"

namespace terrace {
namespace {

/// ForwardBlock, whose first four hold slots (sums: floats), and the weights of a tile of scores as slots.
template <class S>
struct HalfForwardBlock : ForwardBlock {
  Panels weights;
  HalfForwardBlock(float* p, const Sizes& z) : ForwardBlock(p, z) {
    keys.panel = (slots_of<S>(z.size) + 15) / 16 * 16 * kWidth;  // turned by whole squares
    weights = {weight + flash_block(z.size, z.n, z.m), kHigh * kWidth};
  }
};

/// `columns` scores of row r of a tile, of which query i sees `count`, to weights; maximum, weight and sums of the
/// query brought up to date. What it does not see has weight 0.
template <class S>
inline void soften_slots(const HalfForwardBlock<S>& w, float scale, i64 r, i64 i, i64 columns, i64 count, i64 size) {
  constexpr i64 kStep = S::kEntries * V::kLanes;
  if (count == 0) {
    for (i64 c = 0; c < columns; c += kStep) V::store(w.weights.vector(r, c / S::kEntries), V::set(0));
    return;
  }
  const F factor = V::set(scale);
  F m = V::set(w.top[i]);
  for (i64 c = 0; c < columns; c += V::kLanes) {
    F x = V::mul(V::load(w.scores.vector(r, c)), factor);
    if (c + V::kLanes > count) x = V::first(x, static_cast<int>(count - c), -__builtin_inff());
    V::store(w.scores.vector(r, c), x);
    m = V::max(x, m);
  }
  const float top = V::top(m);
  raise_top(w, i, top, size);
  F sum[2] = {V::set(0), V::set(0)};
  for (i64 c = 0; c < columns; c += kStep) {
    F x[S::kEntries];
    for (i64 t = 0; t < S::kEntries; ++t) {
      const i64 at = c + t * V::kLanes;
      x[t] = at < count ? exp2_of(V::sub(V::load(w.scores.vector(r, at)), V::set(top))) : V::set(0);
      F& part = sum[at / V::kLanes % 2];
      part = V::add(part, x[t]);
    }
    V::store(w.weights.vector(r, c / S::kEntries), S::along(x));
  }
  w.weight[i] += V::sum(V::add(sum[0], sum[1]));
}

/// Queries first .. first + rows - 1 against the tile of `count` keys at k0. Rows go together in runs that begin at
/// multiples of kHigh, whatever the block.
template <class S>
[[gnu::noinline]] void attend_slots(const HalfForwardBlock<S>& w, const Sizes& z, i64 first, i64 rows, i64 k0,
                                    i64 count) {
  const auto seen = [&](i64 i) {
    const i64 keys = z.seen(first + i) - k0;
    return keys < 0 ? 0 : keys < count ? keys : count;
  };
  i64 i = z.first(k0) > first ? (z.first(k0) - first) / kHigh * kHigh : 0;
  for (i64 step; i < rows; i += step) {
    step = rows - i < kHigh ? rows - i : kHigh;
    const i64 columns = seen(i + step - 1);
    product<Kind::fresh, S>(0, step, 0, slots_of<S>(z.size), columns, w.q.from(i), w.keys, w.scores);
    for (i64 r = 0; r < step; ++r) soften_slots<S>(w, z.scale * kLog2E, r, i + r, columns, seen(i + r), z.size);
    product<Kind::add, S>(0, step, 0, slots_of<S>(columns), z.size, w.weights, w.values, w.sums.from(i));
  }
}

template <class S>
inline void half_forward_block(const KernelArgs& a, const HalfForwardBlock<S>& w, const Sizes& z, i64 batch, i64 head,
                               i64 first, i64 rows) {
  const TensorView &q = a.in[0], &k = a.in[1], &v = a.in[2];
  const i64 group = head / (z.heads / z.groups), limit = z.seen(first + rows - 1);
  pack_along<S>(head_at(q, batch, first, head, z.size), q.stride[1], rows, z.size, w.q);
  clear(w.sums, rows, z.size);
  for (i64 i = 0; i < rows; ++i) {
    w.top[i] = -__builtin_inff();
    w.weight[i] = 0;
  }
  for (i64 k0 = 0; k0 < limit; k0 += kForwardKeys) {
    const i64 count = limit - k0 < kForwardKeys ? limit - k0 : kForwardKeys;
    pack_slots_turned<S>(head_at(k, batch, k0, group, z.size), k.stride[1], count, z.size, w.keys);
    pack_across<S>(head_at(v, batch, k0, group, z.size), v.stride[1], count, z.size, w.values);
    attend_slots<S>(w, z, first, rows, k0, count);
  }
  NoLedger none;
  finish_block<Bf16>(a, w, z, batch, head, first, rows, none);
}

template <class S>
inline void flash_attention_bf16_body(const KernelArgs& a) {
  const Sizes z(a);
  const HalfForwardBlock<S> w(worker_scratch(a), z);
  each_block(a, z, kHigh, [&](i64 batch, i64 head, i64 first, i64 rows) {
    half_forward_block<S>(a, w, z, batch, head, first, rows);
  });
}

}  // namespace
}  // namespace terrace
