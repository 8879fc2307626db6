// The verifier on plans that the planner makes of random graphs: they pass, and break where an edge or a place is lost.
#include <gtest/gtest.h>

#include <algorithm>

#include "plan/needed_edges.h"
#include "support/hand_plan.h"
#include "support/random_graph.h"
#include "terrace/plan/planner/planner.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kLess = 10;  // sanitized code is an order slower
#else
constexpr int kLess = 1;
#endif
constexpr u64 kSeeds = 20 / kLess;

struct Case {
  Graph graph;
  Machine machine = testing::hand_machine();
  KernelTable kernels = cpu_kernels(Isa::reference);
  PlanRequest request;

  explicit Case(u64 seed) : graph(testing::random_graph(seed)) {
    const testing::WeightFile file = testing::weight_file(graph, seed, *machine.file_tier());
    request.weights = file.weights;
    request.files = {{"weights", Bytes{file.bytes.size()}}};
    request.reserves = {{"process", machine.main_memory(), 1_MiB, "made up"}};
    request.threads = 2;
    request.isa = Isa::reference;
    const i64 n = graph.symbols()[0].max, pos = graph.symbols()[1].max;
    request.bodies = {{"prompt", {{1, n}, {0, pos}}, {n, 0}, static_cast<double>(2 * n), 0},
                      {"decode", {{1, 1}, {0, pos}}, {1, pos / 2}, 16, kNoSymbol}};
  }
  Plan plan(Bytes budget) {
    request.budget = {{machine.main_memory(), budget}};
    return make_plan(graph, machine, kernels, request);
  }
  /// From the smallest budget to one in which all is pinned.
  std::vector<Bytes> budgets() {
    const Bytes lo = smallest_budget(graph, machine, kernels, request), hi = lo + request.files[0].bytes + 1_MiB;
    std::vector<Bytes> b;
    for (u64 i = 0; i < 5; ++i) b.push_back(lo + Bytes{(hi - lo).count * i * i / 16});
    return b;
  }
  std::string check(const Plan& p) const {
    std::string s;
    for (const Finding& f : verify(graph, machine, p, request.weights))
      s += std::string(name_of(f.defect)) + ": " + f.what + "\n";
    return s;
  }
};

TEST(VerifyPlanned, PlansOfRandomGraphsPass) {
  for (u64 seed = 0; seed < 20; ++seed) {
    Case c(seed);
    for (Bytes budget : c.budgets()) EXPECT_EQ(c.check(c.plan(budget)), "") << "seed " << seed << ", " << budget.count;
  }
}

/// Takes every `stride`-th needed edge of a kind away from plans of random graphs at all budgets; how many that were.
/// The first one taken differs from plan to plan, so that in time every kind of step has its turn.
int take_away(Edge::Kind kind, u64 seeds, std::size_t stride) {
  int removed = 0;
  std::size_t turn = 0;
  for (u64 seed = 0; seed < seeds; ++seed) {
    Case c(seed);
    for (const Bytes budget : c.budgets()) {
      Plan plan = c.plan(budget);
      EXPECT_EQ(c.check(plan), "");
      const auto edges = testing::needed_edges(plan, kind);
      for (std::size_t i = turn++ % stride; i < edges.size(); i += stride, ++removed) {
        const Body& b = plan.bodies[edges[i].body];
        const Edge lost = b.after(b.steps[edges[i].step])[edges[i].edge];
        testing::without(plan, edges[i], [&] {
          EXPECT_NE(c.check(plan), "") << "seed " << seed << ", budget " << budget.count << ", " << b.name << " step "
                                       << edges[i].step << " without edge " << lost.kind << " of " << lost.of;
        });
      }
    }
  }
  return removed;
}

TEST(VerifyPlanned, EveryDoneEdgeIsNeededOrImplied) { EXPECT_GT(take_away(Edge::done, kSeeds, 2), 2000 / kLess); }

TEST(VerifyPlanned, EveryReleasedEdgeIsNeededOrImplied) {
  EXPECT_GT(take_away(Edge::released, 3 * kSeeds, 1), 300 / kLess);
}

TEST(VerifyPlanned, LostBytesFail) {
  for (u64 seed = 0; seed < 10; ++seed) {
    Case c(seed);
    const Plan sound = c.plan(c.budgets()[2]);
    Plan plan = sound;
    std::vector<u32> lasting;
    for (u32 i = 0; i < plan.placements.size(); ++i) {
      Placement& p = plan.placements[i];
      if (p.owner == Owner::file) continue;
      if (p.body == kNone && p.use != Use::ring) lasting.push_back(i);
      p.bytes -= Bytes{std::min<u64>(p.bytes.count, 1)};
      if (p.use != Use::scratch && p.use != Use::staging) {
        EXPECT_NE(c.check(plan), "") << "seed " << seed << ", placement " << i;
      }
      p = sound.placements[i];
    }
    for (std::size_t i = 1; i < lasting.size(); ++i) {
      Placement& p = plan.placements[lasting[i]];
      p.offset = plan.placements[lasting[i - 1]].offset;
      EXPECT_NE(c.check(plan), "") << "seed " << seed << ", placement " << lasting[i];
      p = sound.placements[lasting[i]];
    }
    u64 end = 0;
    for (const Placement& p : plan.placements)
      if (p.owner == Owner::plan) end = std::max(end, p.offset + p.bytes.count);
    plan.arenas[0].bytes = Bytes{end - 1};
    EXPECT_NE(c.check(plan), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace terrace
