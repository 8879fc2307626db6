// Plans of random graphs at every kind of budget are sound, keep the budget and use what they are given.
#include "terrace/plan/planner/planner.h"

#include <gtest/gtest.h>

#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/ops/ops.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

using testing::Case;

/// Bytes that one repetition reads through the ring.
u64 streamed(const Plan& p) {
  u64 sum = 0;
  for (const StreamBlock& b : p.stream) sum += p.placements[b.from].bytes.count;
  return sum;
}

std::string findings(const Case& c, const Plan& p) {
  std::string all;
  for (const Finding& f : verify(c.graph, c.machine, p, c.request.weights))
    all += std::string(name_of(f.defect)) + ": " + f.what + "\n";
  return all;
}

TEST(Planner, plans_of_random_graphs_are_sound_at_every_budget) {
  for (u64 seed = 0; seed < 40; ++seed) {
    Case c(seed);
    const u64 least = smallest_budget(c.graph, c.machine, c.kernels, c.request).count;
    const u64 all = c.plan_within(std::nullopt).total_bytes(c.machine.main_memory()).count;
    ASSERT_LE(least, all);
    for (const double share : {0.0, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0}) {
      const u64 budget = least + static_cast<u64>(share * static_cast<double>(all - least));
      const Plan p = c.plan_within(budget);
      EXPECT_EQ(findings(c, p), "") << "seed " << seed << ", budget " << budget << " of " << least << ".." << all;
      EXPECT_LE(p.total_bytes(c.machine.main_memory()).count, budget);
      EXPECT_EQ(p.smallest_budget.count, least);
      if (share == 1.0) { EXPECT_TRUE(p.stream.empty()); }
    }
  }
}

/// With sizes that the budget does not change: a larger chunk may well be worth more streaming.
TEST(Planner, more_memory_never_streams_more) {
  for (u64 seed = 0; seed < 40; ++seed) {
    Case c(seed);
    c.request.bodies[1].chunk = kNoSymbol;
    const u64 least = smallest_budget(c.graph, c.machine, c.kernels, c.request).count;
    const u64 all = c.plan_within(std::nullopt).total_bytes(c.machine.main_memory()).count;
    u64 last = ~u64{0} - 4096;
    for (int i = 0; i <= 40; ++i) {
      const Plan p = c.plan_within(least + (all - least) * static_cast<u64>(i) / 40);
      // Whole rows and granules may cost a little from one budget to the next.
      EXPECT_LE(streamed(p), last + 4096) << "seed " << seed << ", " << i << " of 40";
      last = streamed(p);
    }
  }
}

TEST(Planner, smallest_budget_is_honest) {
  for (u64 seed = 0; seed < 40; ++seed) {
    Case c(seed);
    const u64 least = smallest_budget(c.graph, c.machine, c.kernels, c.request).count;
    EXPECT_NO_THROW(c.plan_within(least)) << seed;
    for (const u64 below : {least - 1, least - (64 << 10), u64{0}}) {
      try {
        c.plan_within(below);
        ADD_FAILURE() << "seed " << seed << ": planned within " << below << ", smallest is " << least;
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::does_not_fit);
        EXPECT_EQ(e.smallest_budget().count, least);
      }
    }
  }
}

/// Room for the plan is kept before its steps are known: neither too little nor too much.
TEST(Planner, the_plans_own_room_is_that_of_its_steps) {
  for (u64 seed = 0; seed < 40; ++seed) {
    Case c(seed);
    const u64 least = smallest_budget(c.graph, c.machine, c.kernels, c.request).count;
    for (const u64 budget : {least, least + least / 3, u64{1} << 30}) {
      const Plan p = c.plan_within(budget);
      u64 steps = 0, kept = 0;
      for (const Body& b : p.bodies) steps += b.steps.size();
      for (const Reserve& r : p.reserves)
        if (r.name == "plan and trace") kept = r.bytes.count;
      EXPECT_EQ(kept, round_up(steps * 448, 4096)) << "seed " << seed << ", budget " << budget;
    }
  }
}

TEST(Planner, memory_is_used_rather_than_left) {
  for (u64 seed = 0; seed < 40; ++seed) {
    Case c(seed);
    const u64 least = smallest_budget(c.graph, c.machine, c.kernels, c.request).count;
    const u64 all = c.plan_within(std::nullopt).total_bytes(c.machine.main_memory()).count;
    const u64 budget = (least + all) / 2;
    const Plan p = c.plan_within(budget);
    if (p.stream.empty()) continue;
    const u64 left = budget - p.total_bytes(c.machine.main_memory()).count;
    EXPECT_LE(left, budget / 50 + (16 << 10)) << "seed " << seed << " of " << budget;
  }
}

TEST(Planner, more_nodes_than_a_plan_has_steps_are_refused_at_once) {
  Case c(1);
  GraphBuilder b;
  ValueId x = b.input("x", {DType::f32, Layout::dense, {Dim(1), Dim(4)}});
  for (std::size_t i = 0; i <= kMaxBodySteps; ++i) x = b.call(ops::silu, {x});
  b.output(x);
  c.graph = b.finish();
  try {
    c.plan_within(std::nullopt);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_EQ(e.message(), "the graph has 32769 nodes; a plan can have 32768 steps");
  }
}

TEST(Planner, results_take_over_the_bytes_of_operands_that_die) {
  Case c(1);
  GraphBuilder b;
  const TensorSpec spec{DType::f32, Layout::dense, {Dim(64), Dim(4)}};
  const ValueId x = b.input("x", spec);
  const ValueId first = b.call(ops::silu, {x}), kept = b.call(ops::silu, {first});             // takes over first
  const ValueId second = b.call(ops::mul, {kept, x}), sum = b.call(ops::add, {second, kept});  // over second or kept
  b.output(sum);
  c.graph = b.finish();
  c.request.weights.clear();
  c.request.files.clear();
  c.request.bodies = {{"all", {}, {}, 1, kNoSymbol}};
  const Plan plan = c.plan_within(std::nullopt);
  const auto at = [&](ValueId v) {
    for (const Placement& p : plan.placements)
      if (p.value == v) return p.offset;
    throw std::out_of_range("has no placement");
  };
  EXPECT_EQ(at(first), at(kept));
  EXPECT_NE(at(second), at(kept)) << "kept is read again";
  EXPECT_TRUE(at(sum) == at(second) || at(sum) == at(kept));
  EXPECT_NE(at(first), at(x)) << "an input is bound, not computed";
}

TEST(Planner, no_kernel_is_an_error_that_names_op_and_formats) {
  Case c(1);
  c.kernels = KernelTable{};
  try {
    c.plan_within(std::nullopt);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(e.message().find("take_rows"), std::string::npos) << e.message();
    EXPECT_NE(e.message().find("i32"), std::string::npos) << e.message();
  }
}

}  // namespace
}  // namespace terrace
