// What both directions of flash attention are made of: matrices in panels, their products, the exponential.
// Include after a vec.h.
#pragma once

#include <cstring>
#include <type_traits>

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/ledger.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

// What is called for a whole tile is kept out of line: the code is a third of the size, and as fast.

inline constexpr int kWidth = 2 * V::kLanes;  ///< columns of a panel
/// Rows whose sums, two vectors each, stay in registers.
inline constexpr int kHigh = V::kLanes == 16 ? 8 : V::kLanes == 8 ? 6 : 4;
inline constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

/// Element (r, c) is at[c / kWidth * panel + r * kWidth + c % kWidth]: whatever reads it, strides are constants.
struct Panels {
  float* at;
  i64 panel;
  float* vector(i64 r, i64 c) const {
    const auto column = static_cast<u64>(c);  // unsigned: the division is a shift
    return at + static_cast<i64>(column / kWidth) * panel + r * kWidth + static_cast<i64>(column % kWidth);
  }
  Panels from(i64 row) const { return {at + row * kWidth, panel}; }
};

/// The ordinary kernels' ledger: none.
struct NoLedger {
  void touch(AttentionOperand, const void*, i64, i64, i64, AttentionLedger::Access) {}
};
template <class Ledger>
inline void touch_scratch(Ledger& ledger, const void* at, i64 floats, AttentionLedger::Access how) {
  ledger.touch(AttentionOperand::scratch, at, 1, 4 * floats, 0, how);
}

/// 2^x for x up to about 100, within 2e-7 of it: 2^0 is exactly 1, below 2^-149 comes 0, a NaN stays one.
inline F exp2_of(F x) {
  x = V::max(V::set(-252.0f), x);
  const F n = V::rint(x), r = V::sub(x, n);
  F y = V::set(0.001326472731307149f);  // relative minimax on [-1/2, 1/2] with the constant term 1
  y = V::fma(y, r, V::set(0.009671512991189957f));
  y = V::fma(y, r, V::set(0.05550733581185341f));
  y = V::fma(y, r, V::set(0.24022242426872253f));
  y = V::fma(y, r, V::set(0.6931470036506653f));
  y = V::fma(y, r, V::set(1.0f));
  return V::scale(y, n);
}

/// How a product is made: of a as it lies and into zeros, or added to what is there; or of a turned, and added.
enum class Kind : std::uint8_t { fresh, add, turned };

/// What a(r, t) b[t][..] adds to a sum: floats here, slots of flash_slots.h elsewhere.
struct FloatProducts {
  static F multiply(F a, F b, F sum) { return V::fma(a, b, sum); }
};

/// c[r][..] (+)= sum over begin <= t < end of a(r, t) * b[t][..]: R rows by N vectors of a panel, a chain each. a is
/// at its first row, its panels `panel` apart; a(r, t) is its element (r, t), or (t, r) if turned.
template <class S, int R, int N, Kind kKind>
inline void product_tile(const float* a, i64 panel, i64 begin, i64 end, const float* b, float* c) {
  constexpr bool kTurned = kKind == Kind::turned;
  F s[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < N; ++v) s[r][v] = kKind == Kind::fresh ? V::set(0) : V::load(c + r * kWidth + v * V::kLanes);
  b += begin * kWidth;
  for (i64 t = begin; t < end;) {
    const i64 border = (t / kWidth + 1) * kWidth, stop = kTurned || end < border ? end : border;
    const float* x = kTurned ? a + t * kWidth : a + t / kWidth * panel + t % kWidth;
    for (; t < stop; ++t, x += kTurned ? kWidth : 1, b += kWidth) {
      F w[N];
#pragma GCC unroll 2
      for (int v = 0; v < N; ++v) w[v] = V::load(b + v * V::kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const F f = V::set(x[kTurned ? r : r * kWidth]);
#pragma GCC unroll 2
        for (int v = 0; v < N; ++v) s[r][v] = S::multiply(f, w[v], s[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < N; ++v) V::store(c + r * kWidth + v * V::kLanes, s[r][v]);
}

template <class S, int N, Kind kKind>
[[gnu::noinline]] void product_rows(i64 rows, const float* a, i64 panel, i64 begin, i64 end, const float* b, float* c) {
  const auto run = [&]<int R>(std::integral_constant<int, R>) {
    for (; rows >= R; rows -= R, a += kKind == Kind::turned ? R : R * kWidth, c += R * kWidth)
      product_tile<S, R, N, kKind>(a, panel, begin, end, b, c);
  };
  run(std::integral_constant<int, kHigh>{});
  if constexpr (kHigh > 4) run(std::integral_constant<int, 4>{});
  run(std::integral_constant<int, 2>{});
  run(std::integral_constant<int, 1>{});
}

/// Rows [row, stop) of c (+)= a[.., begin .. end) b[begin .. end, ..), `columns` wide.
template <Kind kKind, class S = FloatProducts>
inline void product(i64 row, i64 stop, i64 begin, i64 end, i64 columns, Panels a, Panels b, Panels c) {
  constexpr bool kTurned = kKind == Kind::turned;
  if (begin >= end) return;
  for (i64 column = 0; column < columns; column += kWidth) {
    const float* right = b.at + column / kWidth * b.panel;
    float* to = c.at + column / kWidth * c.panel;
    const auto rows = columns - column > V::kLanes ? product_rows<S, 2, kKind> : product_rows<S, 1, kKind>;
    for (i64 r = row, next; r < stop; r = next) {
      next = kTurned && (r / kWidth + 1) * kWidth < stop ? (r / kWidth + 1) * kWidth : stop;
      rows(next - r, kTurned ? a.at + r / kWidth * a.panel + r % kWidth : a.at + r * kWidth, a.panel, begin, end, right,
           to + r * kWidth);
    }
  }
}

/// c += a b over rows [row, stop), row r over its first end(r) columns of a from `begin` on; end never falls.
template <class End>
[[gnu::noinline]] void product_until(i64 row, i64 stop, i64 begin, i64 columns, Panels a, Panels b, Panels c, End end) {
  const i64 common = end(row);
  if (common > begin) product<Kind::add>(row, stop, begin, common, columns, a, b, c);
  if (end(stop - 1) <= common) return;
  const i64 middle = (row + stop) / 2, from = common > begin ? common : begin;
  product_until(row, middle, from, columns, a, b, c, end);
  product_until(middle, stop, from, columns, a, b, c, end);
}

/// c += a^T b over rows [row, stop), row r over rows start(r) .. end-1 of a and b; start never falls.
template <class Start>
[[gnu::noinline]] void product_from(i64 row, i64 stop, i64 end, i64 columns, Panels a, Panels b, Panels c,
                                    Start start) {
  const i64 last = start(stop - 1), common = last < end ? last : end;
  if (start(row) < common) {
    const i64 middle = (row + stop) / 2;
    product_from(row, middle, common, columns, a, b, c, start);
    product_from(middle, stop, common, columns, a, b, c, start);
  }
  product<Kind::turned>(row, stop, common, end, columns, a, b, c);
}

[[gnu::noinline]] void clear(Panels to, i64 rows, i64 columns) {
  for (i64 c = 0; c < columns; c += V::kLanes)
    for (i64 r = 0; r < rows; ++r) V::store(to.vector(r, c), V::set(0));
}

/// `rows` rows of `size` floats, `stride` bytes apart, into panels, times `factor`; zeros fill the last vector.
[[gnu::noinline]] void pack(const std::byte* from, i64 stride, i64 rows, i64 size, float factor, Panels to) {
  for (i64 r = 0; r < rows; ++r) {
    const auto* p = reinterpret_cast<const float*>(from + r * stride);
    for (i64 c = 0; c < size; c += V::kLanes)
      V::store(to.vector(r, c), V::mul(load_some(p + c, size - c, 0), V::set(factor)));
  }
}
/// The way back, to T; `add`: to what is there.
template <class T = float>
[[gnu::noinline]] void unpack(Panels from, i64 rows, i64 size, float factor, bool add, std::byte* to, i64 stride) {
  for (i64 r = 0; r < rows; ++r) {
    auto* p = reinterpret_cast<T*>(to + r * stride);
    for (i64 c = 0; c < size; c += V::kLanes) {
      F x = V::mul(V::load(from.vector(r, c)), V::set(factor));
      if (add) x = V::add(load_some(p + c, size - c, 0), x);
      store_some(p + c, size - c, x);
    }
  }
}
/// Row e, column j of `to` is element e of row j. Behind the last row it is repeated, up to a whole vector.
[[gnu::noinline]] void pack_turned(const std::byte* from, i64 stride, i64 rows, i64 size, Panels to) {
  for (i64 j = 0; j < (rows + V::kLanes - 1) / V::kLanes * V::kLanes; j += 8) {
    const std::byte* at[8];
    for (i64 r = 0; r < 8; ++r) at[r] = from + (j + r < rows ? j + r : rows - 1) * stride;
    float t[8 * 64];
    i64 e = 0;
    for (; e + 8 <= size; e += 8) {
      V::float8x8(at, 4 * e, t);
      for (int c = 0; c < 8; ++c) std::memcpy(to.vector(e + c, j), t + 64 * c, 32);
    }
    for (; e < size; ++e)
      for (int r = 0; r < 8; ++r) std::memcpy(to.vector(e, j) + r, at[r] + 4 * e, 4);
  }
}

/// What the kernels are told.
struct Sizes {
  i64 batches, n, m, heads, groups, size;  ///< queries, keys; `size` of a head
  i64 wide;                                ///< `size` up to whole panels of every instruction set
  i64 shift;                               ///< query i sees keys before i + shift
  float scale;
  explicit Sizes(const KernelArgs& a)
      : batches(a.in[0].dim[0]),
        n(a.in[0].dim[1]),
        m(a.in[1].dim[1]),
        heads(a.ints[0]),
        groups(a.ints[1]),
        size(a.in[0].dim[2] / a.ints[0]),
        wide(flash_wide(size)),
        shift(a.ints[2] != 0 ? m - n + 1 : m),
        scale(static_cast<float>(a.floats[0])),
        causal_(a.ints[2] != 0) {}
  /// Keys that query i sees.
  i64 seen(i64 i) const {
    if (!causal_) return m;
    const i64 keys = i + shift;
    return keys < 0 ? 0 : keys < m ? keys : m;
  }
  /// The first query that sees key j.
  i64 first(i64 j) const { return causal_ && j + 1 > shift ? j + 1 - shift : 0; }

 private:
  bool causal_;
};

/// Where row `i` of a head begins in x [B, rows, heads * size].
inline std::byte* head_at(const TensorView& x, i64 batch, i64 i, i64 head, i64 size) {
  return x.data + batch * x.stride[0] + i * x.stride[1] + (x.dtype == DType::bf16 ? 2 : 4) * head * size;
}
inline float* worker_scratch(const KernelArgs& a) {
  const u64 own = a.scratch_bytes / static_cast<u64>(a.workers) / 64 * 64;
  return reinterpret_cast<float*>(a.scratch + own * static_cast<u64>(a.worker));
}

}  // namespace
}  // namespace terrace
