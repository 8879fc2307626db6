#include "terrace/program/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "terrace/core/error.h"

namespace terrace {
namespace {

std::map<i32, int> draw(const SamplerOptions& o, const std::vector<float>& logits, int times) {
  Sampler s(o, static_cast<i64>(logits.size()));
  std::map<i32, int> n;
  for (int i = 0; i < times; ++i) ++n[s.pick(logits, {})];
  return n;
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(Sampler({}, 4).pick(std::vector<float>{1, 3, 3, 2}, {}), 1);
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  SamplerOptions o;
  o.temperature = 2;
  const std::vector<float> logits{0, 2, 4};
  const auto n = draw(o, logits, 30000);
  const double z = 1 + std::exp(1.0) + std::exp(2.0);
  EXPECT_NEAR(n.at(0) / 30000.0, 1 / z, 0.01);
  EXPECT_NEAR(n.at(2) / 30000.0, std::exp(2.0) / z, 0.01);
}

TEST(Sampler, TopKTopPAndMinPCutTheTail) {
  const std::vector<float> logits{0, 1, 2, 3};  // softmax 0.032 0.087 0.237 0.644
  SamplerOptions o;
  o.temperature = 1;
  o.top_k = 2;
  EXPECT_EQ(draw(o, logits, 2000).size(), 2u);
  o.top_k = 0;
  o.top_p = 0.85;  // 0.644 + 0.237 reaches it
  EXPECT_EQ(draw(o, logits, 2000).size(), 2u);
  o.top_p = 1;
  o.min_p = 0.1;  // 0.087 / 0.644 = 0.135 stays, 0.032 / 0.644 = 0.05 goes
  EXPECT_EQ(draw(o, logits, 2000).size(), 3u);
}

TEST(Sampler, TheNucleusMayReachBeyondTheFirstSortedPart) {
  SamplerOptions o;
  o.temperature = 1;
  o.top_p = 0.9;
  const auto n = draw(o, std::vector<float>(2000, 0.0f), 2000);
  EXPECT_LE(n.size(), 1800u);
  EXPECT_GT(n.size(), 1100u);  // 1800 (1 - exp(-2000 / 1800)) = 1207 are expected
}

TEST(Sampler, SeedsRepeatAndDiffer) {
  SamplerOptions o;
  o.temperature = 1;
  const std::vector<float> logits(50, 0.0f);
  const auto run = [&](u64 seed) {
    o.seed = seed;
    Sampler s(o, 50);
    std::vector<i32> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(s.pick(logits, {}));
    return ids;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(Sampler, PenaltyCountsATokenOnce) {
  SamplerOptions o;
  o.repeat_penalty = 1.5;
  const std::vector<i32> history{1, 1, 1};
  EXPECT_EQ(Sampler(o, 3).pick(std::vector<float>{1.9f, 3.0f, -1}, history), 1);  // 3 / 1.5 = 2, not 3 / 1.5^3
  EXPECT_EQ(Sampler(o, 3).pick(std::vector<float>{2.1f, 3.0f, -1}, history), 0);
}

TEST(Sampler, NotANumberIsAnError) {
  EXPECT_THROW(Sampler({}, 2).pick(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, {}), Error);
}

}  // namespace
}  // namespace terrace
