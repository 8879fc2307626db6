// Picks the next token from logits.
#pragma once

#include <span>
#include <vector>

#include "terrace/core/units.h"

namespace terrace {

struct SamplerOptions {
  double temperature = 0;  ///< 0: greedy (the smallest id among equals)
  i64 top_k = 0;           ///< 0: all
  double top_p = 1, min_p = 0;
  double repeat_penalty = 1;  ///< divides positive and multiplies negative logits of the last 64 tokens
  u64 seed = 0;
};

/// Deterministic for a seed on every platform (xoshiro256**, Blackman & Vigna 2018). Allocates at construction only.
class Sampler {
 public:
  Sampler(const SamplerOptions& options, i64 vocabulary);
  /// NaN in the logits: Error(failure).
  i32 pick(std::span<const float> logits, std::span<const i32> history);

 private:
  double uniform();
  i32 draw(std::span<const float> scores);
  SamplerOptions options_;
  u64 rng_[4];
  std::vector<i32> order_;
  std::vector<float> work_;
};

}  // namespace terrace
