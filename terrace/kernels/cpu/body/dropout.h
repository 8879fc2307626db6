// dropout. Its random words are Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the
// words of block b are a function of the counter (b low, b high, step, 0) and the key alone.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/cpu/body/runs.h"

namespace terrace {
namespace {

inline constexpr int kBlocksAtOnce = 16, kWordsAtOnce = 4 * kBlocksAtOnce;

/// words[4 j + w] = word w of block first + j. A counter's word is the lower half of a lane; what stands above it is
/// never looked at.
inline void philox(u64 first, u32 step, u64 key, u32* words) {
  for (int j = 0; j < kBlocksAtOnce; j += V::kWide) {
    V::W c0 = V::counted_from(first + static_cast<u64>(j)), c1 = V::upper_halves(c0), c2 = V::wide(step),
         c3 = V::wide(0);
    u64 k0 = key, k1 = key >> 32;
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      const V::W p = V::product(c0, V::wide(0xD2511F53u)), q = V::product(c2, V::wide(0xCD9E8D57u));
      c0 = V::exclusive_or(V::exclusive_or(V::upper_halves(q), c1), V::wide(k0));
      c1 = q;
      c2 = V::exclusive_or(V::exclusive_or(V::upper_halves(p), c3), V::wide(k1));
      c3 = p;
    }
    u64 low[V::kWide], high[V::kWide];
    V::store_halves(low, c0, c1);
    V::store_halves(high, c2, c3);
    for (int i = 0; i < V::kWide; ++i) {
      __builtin_memcpy(words + 4 * (j + i), low + i, 8);
      __builtin_memcpy(words + 4 * (j + i) + 2, high + i, 8);
    }
  }
}

/// Inputs x, step. Element e of x (row by row) has word e % 4 of block e / 4, and is kept if it is at least p 2^32.
inline void dropout_body(const KernelArgs& a) {
  i32 step;
  __builtin_memcpy(&step, a.in[1].data, 4);
  const double p = a.floats[0];
  const double least_word = __builtin_ceil(p * 0x1p32);
  const u32 least = least_word < 0x1p32 ? static_cast<u32>(least_word) : ~0u;
  const float by = static_cast<float>(1 / (1 - p));
  u32 words[kWordsAtOnce];
  i64 have = -1;  // the lot of words that is there
  each_run<2>(a, {&a.in[0], &a.out[0]}, [&](std::byte* const* at, i64 first, i64 n) {
    const auto* x = reinterpret_cast<const float*>(at[0]);
    auto* y = reinterpret_cast<float*>(at[1]);
    for (i64 c = 0; c < n;) {
      const i64 lot = (first + c) / kWordsAtOnce, skip = (first + c) % kWordsAtOnce;
      const i64 count = n - c < kWordsAtOnce - skip ? n - c : kWordsAtOnce - skip;
      if (lot != have)
        philox(static_cast<u64>(lot) * kBlocksAtOnce, static_cast<u32>(step), static_cast<u64>(a.ints[0]), words);
      have = lot;
      const u32* w = words + skip;
      for (i64 i = 0; i < count; ++i) y[c + i] = w[i] >= least ? x[c + i] * by : 0.0f;
      c += count;
    }
  });
}

}  // namespace
}  // namespace terrace
