// terrace bench.
#include <map>

#include "support/tool.h"

namespace terrace {
namespace {

TEST(Bench, AttentionMovesLittleMoreThanItMust) {
  const testing::TemporaryFolder folder;
  const testing::Outcome o =
      testing::tool(folder, {"bench", "attention", "--heads", "2", "--length", "1024", "--batch", "3"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.json["cache_bytes"], 1 << 20);
  const i64 operand = 4 * 1024 * 2 * 64, lse = 4 * 2 * 1024;
  EXPECT_EQ(o.json["compulsory_bytes"], 3 * (12 * operand + 2 * lse));
  std::map<std::string, double> moved;
  for (const auto& r : o.json["rows"]) {
    moved[r["name"]] = r["median"];
    EXPECT_EQ(r["unit"], "bytes");
    EXPECT_GE(r["median"].get<double>(), r["bound"].get<double>());
  }
  EXPECT_EQ(moved["flash"], moved["flash forward"] + moved["flash backward"]);
  EXPECT_LE(moved["flash"], 1.1 * o.json["compulsory_bytes"].get<double>());
  EXPECT_GE(moved["standard"], 8.3 * moved["flash"]);
}

TEST(Bench, AttentionIsDrawnAgainstTheCache) {
  const testing::TemporaryFolder folder;
  const testing::Outcome o = testing::tool(
      folder, {"bench", "attention", "--heads", "1", "--length", "64", "--causal", "--out", folder / "plot.svg"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(testing::slurp(folder / "plot.svg").find("</svg>"), std::string::npos);
}

TEST(Bench, AStepIsToldByClass) {
  const testing::TemporaryFolder folder;
  const auto measure = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"bench",   "step", "--model", "char", "--layers",  "1", "--length",  "8",
                                     "--batch", "2",    "--json",  "-",    "--repeats", "1", "--threads", "1"};
    args.insert(args.end(), more.begin(), more.end());
    const testing::Outcome o = testing::tool(folder, args);
    EXPECT_EQ(o.code, 0) << o.err;
    std::map<std::string, nlohmann::json> rows;
    for (const auto& r : o.json["rows"]) rows[r["name"]] = r;
    double seconds = 0;
    for (const auto& [name, r] : rows) {
      EXPECT_EQ(r["unit"], "seconds");
      EXPECT_LE(r["min"], r["median"]);
      if (name != "step") seconds += r["median"].get<double>();
    }
    EXPECT_NEAR(seconds, rows["step"]["median"].get<double>(), 1e-9);
    return rows;
  };
  auto fused = measure({}), plain = measure({"--no-fuse", "all"}), standard = measure({"--attention", "standard"});
  EXPECT_GT(plain["optimizer"]["steps"], fused["optimizer"]["steps"]);
  EXPECT_GT(plain["optimizer"]["bytes"], 2 * fused["optimizer"]["bytes"].get<double>());
  EXPECT_GT(plain["normalisation"]["steps"], fused["normalisation"]["steps"]);
  EXPECT_EQ(plain["contraction"]["flops"], fused["contraction"]["flops"]);
  EXPECT_GT(fused["attention"]["steps"], 0);
  EXPECT_FALSE(standard.contains("attention"));
  EXPECT_GT(standard["contraction"]["steps"], fused["contraction"]["steps"]);
}

TEST(Bench, RefusesWhatItDoesNotKnow) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(testing::tool(folder, {"bench", "everything"}).code, 2);
  EXPECT_EQ(testing::tool(folder, {"bench", "attention", "--cache", "1"}).code, 2);
  EXPECT_EQ(testing::tool(folder, {"bench", "attention", "--head-size", "257"}).code, 2);
  EXPECT_EQ(testing::tool(folder, {"bench", "step", "--model", "llama"}).code, 2);
  EXPECT_EQ(testing::tool(folder, {"bench", "step", "--model", "char", "--no-fuse", "everything"}).code, 2);
}

}  // namespace
}  // namespace terrace
