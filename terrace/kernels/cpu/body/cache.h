// How attention reads a cache: a tile of keys turned round, a tile of values as it lies, both in f32.
#pragma once

#include "terrace/kernels/half.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

inline constexpr int kKeys = 64;  ///< keys a tile

/// Formats of a cache row. `eight` reads elements e .. e+7, `tile` the same of eight rows, turned: to[64 c + r].
struct HalfCache {
  static float one(const std::byte* row, i64 e) { return load_half(row + 2 * e); }
  static void eight(const std::byte* row, i64 e, float* to) { V::half8(row + 2 * e, to); }
  static void tile(const std::byte* const* rows, i64 e, float* to) { V::half8x8(rows, 2 * e, to); }
};
struct FloatCache {
  static float one(const std::byte* row, i64 e) {
    float f;
    std::memcpy(&f, row + 4 * e, 4);
    return f;
  }
  static void eight(const std::byte* row, i64 e, float* to) { std::memcpy(to, row + 4 * e, 32); }
  static void tile(const std::byte* const* rows, i64 e, float* to) { V::float8x8(rows, 4 * e, to); }
};
struct ByteCache {  // q8_0
  static float one(const std::byte* row, i64 e) {
    const std::byte* block = row + e / 32 * 34;
    return load_half(block) * static_cast<float>(reinterpret_cast<const signed char*>(block)[2 + e % 32]);
  }
  static void eight(const std::byte* row, i64 e, float* to) {
    if (e % 8 != 0) {
      for (int i = 0; i < 8; ++i) to[i] = one(row, e + i);
      return;
    }
    const std::byte* block = row + e / 32 * 34;
    const float d = load_half(block);
    const auto* q = reinterpret_cast<const signed char*>(block) + 2 + e % 32;
    for (int i = 0; i < 8; ++i) to[i] = d * static_cast<float>(q[i]);
  }
  static void tile(const std::byte* const* rows, i64 e, float* to) {
    float t[64];
    const std::byte* at[8];
    for (int r = 0; r < 8; ++r) {
      eight(rows[r], e, t + 8 * r);
      at[r] = reinterpret_cast<const std::byte*>(t + 8 * r);
    }
    V::float8x8(at, 0, to);
  }
};

/// to[64 e + j] = element first + e of key k0 + j, for j < count <= 64 and e < size. What lies behind `count` is
/// unused.
template <class Cache>
inline void load_keys(const TensorView& keys, i64 k0, int count, i64 first, i64 size, float* to) {
  for (int j = 0; j < count; j += 8) {
    const std::byte* rows[8];
    for (int r = 0; r < 8; ++r) rows[r] = keys.data + (k0 + (j + r < count ? j + r : count - 1)) * keys.stride[0];
    i64 e = 0;
    for (; e + 8 <= size; e += 8) Cache::tile(rows, first + e, to + kKeys * e + j);
    for (; e < size; ++e)
      for (int r = 0; r < 8; ++r) to[kKeys * e + j + r] = Cache::one(rows[r], first + e);
  }
}

/// to[padded j + e] = element first + e of value k0 + j, zero for size <= e < padded.
template <class Cache>
inline void load_values(const TensorView& values, i64 k0, int count, i64 first, i64 size, i64 padded, float* to) {
  for (int j = 0; j < count; ++j, to += padded) {
    const std::byte* row = values.data + (k0 + j) * values.stride[0];
    i64 e = 0;
    for (; e + 32 <= size; e += 32)
      for (int i = 0; i < 32; i += 8) Cache::eight(row, first + e + i, to + e + i);
    for (; e + 8 <= size; e += 8) Cache::eight(row, first + e, to + e);
    for (; e < size; ++e) to[e] = Cache::one(row, first + e);
    for (; e < padded; ++e) to[e] = 0;
  }
}

}  // namespace
}  // namespace terrace
