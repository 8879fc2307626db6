#include "terrace/program/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "terrace/core/error.h"

namespace terrace {
namespace {
constexpr std::size_t kPenaltyWindow = 64;

// In lanes, so that the compiler uses vectors: a vocabulary is looked at for every token.
constexpr std::size_t kLanes = 16;

/// Not a number, or infinite: x - x is not 0.
bool not_finite(std::span<const float> x) {
  int bad[kLanes] = {};
  const std::size_t whole = x.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) bad[j] |= x[i + j] - x[i + j] != 0;
  for (std::size_t i = whole; i < x.size(); ++i) bad[0] |= x[i] - x[i] != 0;
  return std::any_of(bad, bad + kLanes, [](int b) { return b != 0; });
}

i32 first_of_largest(std::span<const float> x) {
  float top[kLanes];
  std::fill_n(top, kLanes, x[0]);
  const std::size_t whole = x.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) top[j] = x[i + j] > top[j] ? x[i + j] : top[j];
  for (std::size_t i = whole; i < x.size(); ++i) top[0] = std::max(top[0], x[i]);
  return static_cast<i32>(std::find(x.begin(), x.end(), *std::max_element(top, top + kLanes)) - x.begin());
}

u64 rotl(u64 x, int k) { return (x << k) | (x >> (64 - k)); }
}  // namespace

Sampler::Sampler(const SamplerOptions& options, i64 vocabulary) : options_(options) {
  u64 s = options.seed;  // splitmix64 seeds the state, as the generator's authors advise
  for (u64& x : rng_) {
    s += 0x9e3779b97f4a7c15u;
    u64 z = s;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    x = z ^ (z >> 31);
  }
  if (options.temperature > 0) order_.resize(static_cast<std::size_t>(vocabulary));
  if (options.repeat_penalty != 1) work_.resize(static_cast<std::size_t>(vocabulary));
}

double Sampler::uniform() {
  const u64 r = rotl(rng_[1] * 5, 7) * 9, t = rng_[1] << 17;
  rng_[2] ^= rng_[0];
  rng_[3] ^= rng_[1];
  rng_[1] ^= rng_[2];
  rng_[0] ^= rng_[3];
  rng_[2] ^= t;
  rng_[3] = rotl(rng_[3], 45);
  return static_cast<double>(r >> 11) * 0x1p-53;
}

i32 Sampler::pick(std::span<const float> logits, std::span<const i32> history) {
  if (not_finite(logits))
    throw Error(ErrorKind::failure, "a logit is not finite", "sampling", "check the model file: terrace check-file");
  std::span<const float> scores = logits;
  if (!work_.empty()) {
    std::copy(logits.begin(), logits.end(), work_.begin());
    if (options_.repeat_penalty != 1) {
      const auto penalty = static_cast<float>(options_.repeat_penalty);
      const auto recent = history.last(std::min(history.size(), kPenaltyWindow));
      for (std::size_t i = 0; i < recent.size(); ++i) {
        if (std::find(recent.begin(), recent.begin() + static_cast<std::ptrdiff_t>(i), recent[i]) !=
            recent.begin() + static_cast<std::ptrdiff_t>(i))
          continue;  // each token once
        const auto id = static_cast<std::size_t>(recent[i]);
        if (id >= work_.size()) continue;  // a row of the table that is no token
        float& x = work_[id];
        x = x > 0 ? x / penalty : x * penalty;
      }
    }
    scores = work_;
  }
  if (options_.temperature <= 0) return first_of_largest(scores);
  return draw(scores);
}

i32 Sampler::draw(std::span<const float> scores) {
  const double top = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
  const auto weight = [&](i32 id) {
    return std::exp((static_cast<double>(scores[static_cast<std::size_t>(id)]) - top) / options_.temperature);
  };
  const auto better = [&](i32 a, i32 b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;  // ties by id, so that the order is the same everywhere
  };
  std::iota(order_.begin(), order_.end(), 0);
  const std::size_t all = order_.size();
  std::size_t kept = 0;
  double sum = 0;
  if (options_.top_k <= 0 && options_.top_p >= 1) {  // no order needed
    kept = static_cast<std::size_t>(
        std::partition(order_.begin(), order_.end(), [&](i32 id) { return weight(id) >= options_.min_p; }) -
        order_.begin());
    for (std::size_t i = 0; i < kept; ++i) sum += weight(order_[i]);
  } else {
    double mass = 0;  // of what top_p is a share of
    std::size_t sorted =
        options_.top_k > 0 ? std::min(all, static_cast<std::size_t>(options_.top_k)) : std::min<std::size_t>(all, 256);
    if (options_.top_k <= 0)
      for (std::size_t i = 0; i < all; ++i) mass += weight(static_cast<i32>(i));
    while (true) {  // sort no more than the nucleus needs
      std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(sorted), order_.end(), better);
      if (options_.top_k > 0)
        for (std::size_t i = 0; i < sorted; ++i) mass += weight(order_[i]);
      for (kept = 0, sum = 0; kept < sorted; ++kept) {
        const double w = weight(order_[kept]);
        if (kept > 0 && (sum >= options_.top_p * mass || w < options_.min_p)) break;
        sum += w;
      }
      if (kept < sorted || sorted == all || options_.top_k > 0) break;
      sorted = std::min(all, sorted * 4);
    }
  }
  double r = uniform() * sum;
  for (std::size_t i = 0; i + 1 < kept; ++i)
    if ((r -= weight(order_[i])) < 0) return order_[i];
  return order_[kept - 1];
}

}  // namespace terrace
