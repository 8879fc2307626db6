#include "terrace/cli/training/curve_svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace terrace::cli {
namespace {

using Ticks = std::vector<double>;
using Labels = std::vector<std::string>;

TEST(CurveSvg, TicksAreRoundNumbers) {
  EXPECT_EQ(linear_ticks(0, 1, 8), (Ticks{0, 0.2, 0.4, 0.6, 0.8, 1}));
  EXPECT_EQ(linear_ticks(0, 2000, 9), (Ticks{0, 500, 1000, 1500, 2000}));
  EXPECT_EQ(linear_ticks(0, 2000, 11), (Ticks{0, 200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000}));
  EXPECT_EQ(linear_ticks(1.43, 4.29, 8), (Ticks{1.5, 2, 2.5, 3, 3.5, 4}));
  EXPECT_EQ(linear_ticks(-0.15, 0.15, 5), (Ticks{-0.1, 0, 0.1}));
  EXPECT_EQ(log_ticks(0.01, 10, 8), (Ticks{0.01, 0.1, 1, 10}));
  EXPECT_EQ(log_ticks(0.8, 6, 8), (Ticks{1, 2, 5}));
  EXPECT_EQ(log_ticks(2.2, 4.6, 8), (Ticks{2.5, 3, 3.5, 4, 4.5}));
  EXPECT_EQ(log_ticks(1e-9, 1e9, 8), (Ticks{1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9}));
}

TEST(CurveSvg, AnyRangeHasAFewTicksWithinIt) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-12, 12), sign(-1, 1);
  for (int i = 0; i < 20000; ++i) {
    const double low = sign(random) * std::pow(10, exponent(random)),
                 high = low + std::max(std::pow(10, exponent(random)), std::abs(low) * 1e-3);
    const int most = 3 + i % 9;
    const Ticks t = linear_ticks(low, high, most);
    ASSERT_LE(static_cast<int>(t.size()), most) << low << " " << high;
    ASSERT_GE(static_cast<int>(t.size()), std::max(1, most / 3)) << low << " " << high << " " << most;
    for (std::size_t k = 0; k < t.size(); ++k) {
      ASSERT_TRUE(t[k] >= low && t[k] <= high);
      const double step = k > 0 ? t[k] - t[k - 1] : t.back() - t[0];
      ASSERT_TRUE(k == 0 || std::abs(step - (t[1] - t[0])) <= 1e-6 * step) << low << " " << high;
    }
    const Labels l = tick_labels(t);
    for (std::size_t k = 1; k < l.size(); ++k) ASSERT_NE(l[k], l[k - 1]) << low << " " << high;
    if (low <= 0) continue;
    const Ticks g = log_ticks(low, high, most);
    ASSERT_LE(static_cast<int>(g.size()), most);
    ASSERT_GE(g.size(), 1u) << low << " " << high << " " << most;
    for (const double v : g) ASSERT_TRUE(v >= low && v <= high);
  }
}

TEST(CurveSvg, LabelsSayWhatTheyMustAndNoMore) {
  EXPECT_EQ(tick_labels({0, 0.5, 1, 1.5}), (Labels{"0.0", "0.5", "1.0", "1.5"}));
  EXPECT_EQ(tick_labels({-2000, 0, 2000}), (Labels{"-2,000", "0", "2,000"}));
  EXPECT_EQ(tick_labels({-200, 0, 200}), (Labels{"-200", "0", "200"}));
  EXPECT_EQ(tick_labels({1e6, 1.5e6}), (Labels{"1,000,000", "1,500,000"}));
  EXPECT_EQ(tick_labels({2e7, 4e7}), (Labels{"2e+07", "4e+07"}));
  EXPECT_EQ(tick_labels({0.01, 0.1, 1, 10}), (Labels{"0.01", "0.1", "1", "10"}));
  EXPECT_EQ(tick_labels({1e-6, 1e-3, 1}), (Labels{"1e-06", "0.001", "1"}));
  EXPECT_EQ(tick_labels({}), Labels{});
}

std::size_t count(const std::string& s, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = s.find(part); at != s.npos; at = s.find(part, at + 1)) ++n;
  return n;
}

/// Every tag is closed, in order.
bool well_formed(const std::string& s) {
  std::vector<std::string> open;
  for (std::size_t at = s.find('<'); at != s.npos; at = s.find('<', at + 1)) {
    const std::size_t end = s.find('>', at);
    if (end == s.npos) return false;
    const std::string tag = s.substr(at + 1, s.find_first_of(" >/", at + 2) - at - 1);
    if (s[at + 1] == '/') {
      if (open.empty() || "/" + open.back() != s.substr(at + 1, end - at - 1)) return false;
      open.pop_back();
    } else if (s[end - 1] != '/') {
      open.push_back(tag);
    }
  }
  return open.empty();
}

TEST(CurveSvg, DrawsEveryCurveInABoundedPicture) {
  Chart c{"Loss <of> \"a\" & b \x1b\xFF", "step", "loss", false, {{"training", {}, true}, {"validation", {}, false}}};
  std::mt19937 random(2);
  std::uniform_real_distribution<double> noise(0, 0.1);
  for (int i = 0; i < 200000; ++i) c.curves[0].points.emplace_back(i, 4 * std::exp(-i / 5e4) + noise(random));
  for (int i = 0; i <= 10; ++i) c.curves[1].points.emplace_back(20000 * i, 4 * std::exp(-i / 2.5) + 0.1);
  for (const bool log : {false, true}) {
    c.log_y = log;
    const std::string s = curve_svg(c);
    EXPECT_TRUE(well_formed(s));
    EXPECT_LT(s.size(), 100000u);
    EXPECT_NE(s.find("Loss &lt;of&gt; &quot;a&quot; &amp; b ??"), s.npos);
    EXPECT_EQ(count(s, ">training<"), 1u);
    EXPECT_EQ(count(s, "class=\"c\""), 2u);  // the curve, and its line in the legend
    EXPECT_EQ(count(s, "class=\"f\""), 2u);
    EXPECT_NE(s.find(">100,000</text>"), s.npos);
  }
}

TEST(CurveSvg, WhatCannotBeDrawnLeavesAGap) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  Chart c{"",
          "",
          "",
          true,
          {{"", {{0, 1}, {1, nan}, {2, 2}, {3, -1}, {4, 3}, {5, inf}, {inf, 1}, {6, 1e308}, {7, 4}}, false}}};
  const std::string s = curve_svg(c);
  const std::string path = s.substr(s.rfind("<path d="));
  EXPECT_EQ(count(path.substr(0, path.find("class")), "M"), 4u);
  for (const bool log : {false, true}) {
    for (const std::vector<std::pair<double, double>>& p : {std::vector<std::pair<double, double>>{},
                                                            {{5, 2}},
                                                            {{0, 0}, {1, 0}},
                                                            {{nan, nan}},
                                                            {{1e-200, 1e-200}},
                                                            {{0, 5}, {1, std::nextafter(5, 6)}},
                                                            {{0, 1}, {1e299, 1e299}}}) {
      const std::string one = curve_svg({"t", "x", "y", log, {{"name", p, false}}});
      EXPECT_TRUE(well_formed(one));
      EXPECT_EQ(one.find("nan"), one.npos);
      EXPECT_EQ(one.find("inf"), one.npos);
    }
  }
}

}  // namespace
}  // namespace terrace::cli
