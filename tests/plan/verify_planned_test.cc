// The verifier on plans that the planner makes of random graphs: they pass, and break where an edge or a place is lost.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/hand_plan.h"
#include "support/random_graph.h"
#include "terrace/plan/planner/planner.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

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

/// Steps that have ended before `step` starts, through `done` edges other than edge `skip` of it.
std::vector<bool> before(const Body& b, u32 step, u32 skip = kNone) {
  std::vector<bool> seen(b.steps.size(), false);
  std::vector<u32> todo;
  auto follow = [&](u32 s, u32 but) {
    for (u32 i = 0; i < b.steps[s].n_edges; ++i) {
      const Edge& e = b.after(b.steps[s])[i];
      if (i == but || e.kind != Edge::done || seen[e.of]) continue;
      seen[e.of] = true;
      todo.push_back(e.of);
    }
  };
  follow(step, skip);
  while (!todo.empty()) {
    const u32 s = todo.back();
    todo.pop_back();
    follow(s, kNone);
  }
  return seen;
}

TEST(VerifyPlanned, PlansOfRandomGraphsPass) {
  for (u64 seed = 0; seed < 20; ++seed) {
    Case c(seed);
    for (Bytes budget : c.budgets()) EXPECT_EQ(c.check(c.plan(budget)), "") << "seed " << seed << ", " << budget.count;
  }
}

TEST(VerifyPlanned, EveryDoneEdgeIsNeededOrImplied) {
  int removed = 0;
  for (u64 seed = 0; seed < 3; ++seed) {
    Case c(seed);
    Plan plan = c.plan(c.budgets()[1]);
    for (Body& b : plan.bodies)
      for (u32 s = 0; s < b.steps.size(); ++s)
        for (u32 i = 0; i < b.steps[s].n_edges; ++i) {
          const Edge lost = b.after(b.steps[s])[i];
          if (lost.kind != Edge::done || before(b, s, i)[lost.of]) continue;
          Edge* e = b.edges.data() + b.steps[s].first_edge;
          Edge& last = e[b.steps[s].n_edges - 1];
          std::swap(e[i], last);
          --b.steps[s].n_edges;
          EXPECT_NE(c.check(plan), "") << "seed " << seed << ", " << b.name << " step " << s << " after " << lost.of;
          ++b.steps[s].n_edges;
          std::swap(e[i], last);
          ++removed;
        }
  }
  EXPECT_GT(removed, 100);
}

TEST(VerifyPlanned, ARingThatWaitsForNobodyFails) {
  int rings = 0;
  for (u64 seed = 0; seed < 10; ++seed) {
    Case c(seed);
    Plan plan = c.plan(c.budgets()[1]);
    rings += !plan.stream.empty();
    for (Body& b : plan.bodies)
      for (u32 s = 0; s < b.steps.size(); ++s) {
        Step& x = b.steps[s];
        if (x.n_edges != 1 || b.after(x)[0].kind != Edge::released) continue;
        x.n_edges = 0;
        EXPECT_NE(c.check(plan), "") << "seed " << seed << ", " << b.name << " step " << s;
        x.n_edges = 1;
      }
  }
  EXPECT_GT(rings, 0);
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
