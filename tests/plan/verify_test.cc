// The verifier, tried on a sound plan and on the same plan broken on purpose: every class of defect is found. Here what
// the plan says; verify_order_test.cc has when, and verify_memory_test.cc has where.
#include "terrace/plan/verify.h"

#include <functional>

#include "plan/verify_fixture.h"
#include "support/random_graph.h"
#include "terrace/core/error.h"

namespace terrace {
namespace {

using P = testing::HandPlaces;
using S = testing::HandSteps;
using testing::text;

class VerifyTest : public testing::VerifyFixture {};

TEST_F(VerifyTest, SoundPlanPasses) {
  EXPECT_EQ(text(check()), "");
  EXPECT_NO_THROW(verify_or_throw(maker.graph().graph, machine, plan, weights));
}

TEST_F(VerifyTest, ThrowsWithTheFirstFindings) {
  plan.arenas[0].bytes = 1_MiB;
  try {
    verify_or_throw(maker.graph().graph, machine, plan, weights);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::failure);
    EXPECT_NE(std::string(e.what()).find("over_budget"), std::string::npos) << e.what();
  }
}

TEST_F(VerifyTest, MalformedIndices) {
  const std::vector<std::function<void()>> breaks = {[&] { read(S::add, 0).placement = 1000; },
                                                     [&] { read(S::add, 0).value = 1000; },
                                                     [&] { edge(S::add, 0).of = S::count; },
                                                     [&] { edge(S::bring0, 0).of = 3; },
                                                     [&] { step(S::add).kernel = 9; },
                                                     [&] { step(S::add).kernel = 0; },
                                                     [&] { step(S::add).unit = 1; },
                                                     [&] { step(S::add).node = 77; },
                                                     [&] { step(S::bring0).link = 1; },
                                                     [&] { step(S::bring0).block = 3; },
                                                     [&] { step(S::add).first_operand = ~u32{0}; },
                                                     [&] { step(S::add).first_edge = ~u32{0}; },
                                                     [&] { step(S::add).workers = 3; },
                                                     [&] { step(S::add).lane = Lane::io; },
                                                     [&] { place(P::x).tier = 7; },
                                                     [&] { place(P::x).body = 5; },
                                                     [&] { place(P::x).death = 99; },
                                                     [&] { place(P::x).value = 500; },
                                                     [&] { place(P::file0).file = 4; },
                                                     [&] { place(P::ring0).row_end = 65; },
                                                     [&] { plan.stream[0].to = P::pinned; },
                                                     [&] { plan.granule = 0; },
                                                     [&] { plan.workers = 0; },
                                                     [&] { plan.arenas.push_back(plan.arenas[0]); },
                                                     [&] { prompt().symbols[0].hi = 5; },
                                                     [&] { prompt().symbols.pop_back(); },
                                                     [&] { place(P::x).use = Use::ring; },
                                                     [&] { step(S::attention).scratch = 999; }};
  for (std::size_t i = 0; i < breaks.size(); ++i) {
    const Plan sound = plan;
    breaks[i]();
    EXPECT_TRUE(finds(Defect::malformed)) << "case " << i;
    plan = sound;
  }
}

TEST_F(VerifyTest, MalformedOperands) {
  const std::vector<std::function<void()>> breaks = {
      [&] { read(S::linear0, 1).begin = 8; },  // rows that the ring placement does not hold
      [&] { write(S::linear0).begin = 20; },   // columns that do not go with the rows
      [&] { read(S::linear0, 1).axis = 1; },   // along the reduce axis
      [&] { read(S::linear0, 1).axis = -1; },  // all rows from a placement of some
      [&] {
        read(S::linear0, 0) = {maker.graph().x, P::x, 0, 2, 0};
      },                                                     // n varies
      [&] { std::swap(read(S::add, 0), read(S::add, 1)); },  // the node's operands, exchanged
      [&] {
        write(S::append) = {maker.graph().cache1, P::z, 0, 0, -1};
      },
      [&] { read(S::bring0, 0).placement = P::file1; },
      [&] { read(S::gather, 0).placement = P::pinned; }};
  for (std::size_t i = 0; i < breaks.size(); ++i) {
    const Plan sound = plan;
    breaks[i]();
    EXPECT_TRUE(finds(Defect::malformed)) << "case " << i;
    plan = sound;
  }
}

TEST_F(VerifyTest, WrongGraphOrMachine) {
  plan.graph_fingerprint ^= 1;
  EXPECT_TRUE(finds(Defect::wrong_graph));
  plan.graph_fingerprint ^= 1;
  machine.name = "other";
  EXPECT_TRUE(finds(Defect::wrong_graph));
  machine.name = "hand";
  plan.tiers[0] = "hbm";
  EXPECT_TRUE(finds(Defect::wrong_graph));
}

TEST_F(VerifyTest, MissingNode) {
  read(S::linear_pinned, 1).end = 8;  // rows 8..15 of the pinned ones
  write(S::linear_pinned).end = 8;
  EXPECT_TRUE(finds(Defect::missing_node));
}

TEST_F(VerifyTest, MissingStep) {
  erase_step(S::attention);
  EXPECT_TRUE(finds(Defect::missing_node));
}

TEST_F(VerifyTest, DuplicateNode) {
  prompt().steps.push_back(step(S::attention));
  EXPECT_TRUE(finds(Defect::duplicate_node));
}

TEST_F(VerifyTest, DuplicatePart) {
  prompt().steps.push_back(step(S::linear0));
  EXPECT_TRUE(finds(Defect::duplicate_node));
}

TEST_F(VerifyTest, MalformedLists) {
  const std::vector<std::function<void()>> breaks = {[&] { plan.io_depth = 0; }, [&] { plan.reserves[0].tier = 9; },
                                                     [&] { plan.budget[0].tier = 9; },
                                                     [&] { plan.stream[1].from = 900; }};
  for (std::size_t i = 0; i < breaks.size(); ++i) {
    const Plan sound = plan;
    breaks[i]();
    EXPECT_TRUE(finds(Defect::malformed)) << "case " << i;
    plan = sound;
  }
}

TEST_F(VerifyTest, MissingTail) {
  read(S::linear2, 1).end = write(S::linear2).end = 56;
  EXPECT_TRUE(finds(Defect::missing_node));
}

TEST_F(VerifyTest, NoBodyComputes) {
  plan.bodies.resize(1);
  plan.placements.resize(P::x);
  EXPECT_TRUE(finds(Defect::missing_node));
}

/// Garbage in any field is a finding or harmless, never a crash or an endless loop.
TEST_F(VerifyTest, GarbageIsSafe) {
  testing::Random r(7);
  int broken = 0;
  for (int round = 0; round < 20000; ++round) {
    Plan p = plan;
    const i64 changes = 1 + r.below(3);
    for (i64 k = 0; k < changes; ++k) {
      auto number = [&]() -> u64 { return r.chance(70) ? static_cast<u64>(r.below(70)) : r.next() >> r.below(64); };
      Body& b = p.bodies[static_cast<std::size_t>(r.below(3))];
      const auto pick = [&](auto& list) -> auto& {
        return list[static_cast<std::size_t>(r.below(static_cast<i64>(list.size())))];
      };
      switch (r.below(12)) {
        case 0: pick(p.placements).offset = number(); break;
        case 1: pick(p.placements).bytes = Bytes{number()}; break;
        case 2: pick(p.placements).row_end = static_cast<i64>(number()); break;
        case 3: pick(p.placements).pad_before = static_cast<u32>(number()); break;
        case 4: pick(p.placements).body = static_cast<u32>(number()); break;
        case 5: pick(b.operands).value = static_cast<u32>(number()); break;
        case 6: pick(b.operands).placement = static_cast<u32>(number()); break;
        case 7:
          pick(b.operands) = {pick(b.operands).value, pick(b.operands).placement, r.below(70) - 3, r.below(70),
                              static_cast<std::int8_t>(r.below(5) - 1)};
          break;
        case 8:
          if (!b.edges.empty()) pick(b.edges).of = static_cast<u32>(number());
          break;
        case 9: pick(b.steps).node = static_cast<u32>(number()); break;
        case 10: pick(b.steps).scratch = static_cast<u32>(number()); break;
        case 11: pick(b.steps) = pick(pick(p.bodies).steps); break;
      }
    }
    broken += !verify(maker.graph().graph, machine, p, weights).empty();
  }
  EXPECT_GT(broken, 10000);
}

}  // namespace
}  // namespace terrace
