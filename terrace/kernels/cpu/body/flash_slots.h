// What flash attention of bf16 is made of. Its products multiply slots: a number or a pair of them (S::kEntries), along
// the axis that is summed over. A matrix is packed "along" (slots run along its rows), "across" (a slot holds the same
// column of kEntries rows) or turned round. Include after a vec.h and a turn.h.
#pragma once

#include "terrace/kernels/cpu/body/flash_tiles.h"

namespace terrace {
namespace {

/// A number in each slot, rounded to bf16.
struct SingleSlots {
  static constexpr i64 kEntries = 1;
  static F multiply(F a, F b, F sum) { return V::fma(a, b, sum); }
  static F along(const F (&x)[kEntries]) { return V::round_bf16(x[0]); }
  static F across(const F (&x)[kEntries]) { return V::round_bf16(x[0]); }
  static F some_along(const Bf16* p, i64 count) { return load_some(p, count, 0); }
  static F some_across(const Bf16* x, const Bf16*, i64 count) { return load_some(x, count, 0); }
};

template <class S>
inline i64 slots_of(i64 numbers) {
  return (numbers + S::kEntries - 1) / S::kEntries;
}
inline const Bf16* bf16_at(const std::byte* from, i64 row, i64 stride) {
  return reinterpret_cast<const Bf16*>(from + row * stride);
}

/// `rows` rows of `size` numbers, `stride` bytes apart; zeros fill the last vector.
template <class S>
[[gnu::noinline]] void pack_along(const std::byte* from, i64 stride, i64 rows, i64 size, Panels to) {
  for (i64 r = 0; r < rows; ++r) {
    const Bf16* p = bf16_at(from, r, stride);
    for (i64 c = 0; c < size; c += S::kEntries * V::kLanes)
      V::store(to.vector(r, c / S::kEntries), S::some_along(p + c, size - c));
  }
}
template <class S>
[[gnu::noinline]] void pack_across(const std::byte* from, i64 stride, i64 rows, i64 size, Panels to) {
  for (i64 r = 0; r < rows; r += S::kEntries) {
    const Bf16 *x = bf16_at(from, r, stride), *y = r + 1 < rows ? bf16_at(from, r + 1, stride) : nullptr;
    for (i64 c = 0; c < size; c += V::kLanes)
      V::store(to.vector(r / S::kEntries, c), S::some_across(x + c, y != nullptr ? y + c : nullptr, size - c));
  }
}
/// Row e, column j of `to` is slot e of row j. Behind the last row it is repeated, up to a whole square.
template <class S>
[[gnu::noinline]] void pack_slots_turned(const std::byte* from, i64 stride, i64 rows, i64 size, Panels to) {
  static_assert(kSquare == V::kLanes);
  float square[kSquare * kSquare];
  const float* at[kSquare];
  for (i64 i = 0; i < kSquare; ++i) at[i] = square + i * kSquare;
  for (i64 j = 0; j < rows; j += kSquare)
    for (i64 e = 0; e < slots_of<S>(size); e += kSquare) {
      for (i64 i = 0; i < kSquare; ++i)
        V::store(square + i * kSquare,
                 S::some_along(bf16_at(from, j + i < rows ? j + i : rows - 1, stride) + S::kEntries * e,
                               size - S::kEntries * e));
      turn(at, 0, to.vector(e, j), kWidth);
    }
}

}  // namespace
}  // namespace terrace
