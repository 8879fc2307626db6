// The verifier, tried on a sound plan and on the same plan broken on purpose: every class of defect is found.
#include "terrace/plan/verify.h"

#include <gtest/gtest.h>

#include <functional>

#include "support/hand_plan.h"
#include "support/random_graph.h"
#include "terrace/core/error.h"

namespace terrace {
namespace {
using P = testing::HandPlaces;
using S = testing::HandSteps;

std::string text(const std::vector<Finding>& findings) {
  std::string s;
  for (const Finding& f : findings) s += std::string(name_of(f.defect)) + ": " + f.what + "\n";
  return s;
}

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() : plan(maker.make()), weights(maker.weights()), machine(testing::hand_machine()) {}

  std::vector<Finding> check() const { return verify(maker.graph().graph, machine, plan, weights); }
  bool finds(Defect d) const {
    const auto findings = check();
    for (const Finding& f : findings)
      if (f.defect == d) return true;
    ADD_FAILURE() << "no " << name_of(d) << " among:\n" << text(findings);
    return false;
  }
  Body& prompt() { return plan.bodies[1]; }
  Step& step(u32 s) { return prompt().steps[s]; }
  Operand& read(u32 s, u32 i) { return prompt().operands[step(s).first_operand + i]; }
  Operand& write(u32 s) { return prompt().operands[step(s).first_operand + step(s).n_reads]; }
  Edge& edge(u32 s, u32 i) { return prompt().edges[step(s).first_edge + i]; }
  Placement& place(u32 p) { return plan.placements[p]; }
  static void drop(Body& b, u32 s, u32 i) {
    Edge* e = b.edges.data() + b.steps[s].first_edge;
    std::swap(e[i], e[b.steps[s].n_edges - 1]);
    --b.steps[s].n_edges;
  }
  /// Takes a step out of the prompt; indices and lifetimes follow.
  void erase_step(u32 s) {
    prompt().steps.erase(prompt().steps.begin() + s);
    for (Edge& e : prompt().edges)
      if (e.kind == Edge::done && e.of > s) --e.of;
    for (Placement& p : plan.placements)
      if (p.body == 1) {
        if (p.birth >= s && p.birth > 0) --p.birth;
        if (p.death >= s && p.death > 0) --p.death;
      }
  }

  testing::HandPlanMaker maker;
  Plan plan;
  std::vector<Placement> weights;
  Machine machine;
};

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

TEST_F(VerifyTest, EveryEdgeIsNeeded) {
  for (u32 body = 1; body < plan.bodies.size(); ++body)
    for (u32 s = 0; s < S::count; ++s)
      for (u32 i = 0; i < plan.bodies[body].steps[s].n_edges; ++i) {
        const Plan sound = plan;
        drop(plan.bodies[body], s, i);
        EXPECT_FALSE(check().empty()) << plan.bodies[body].name << " step " << s << " edge " << i;
        plan = sound;
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

TEST_F(VerifyTest, ReadBeforeWrite) {
  drop(prompt(), S::add, 0);  // does not wait for the pinned rows
  EXPECT_TRUE(finds(Defect::read_before_write));
  EXPECT_TRUE(finds(Defect::race));
}

TEST_F(VerifyTest, ReadsAReplacedState) {
  // attention on the old version of the cache, which append has replaced before
  GraphBuilder b;
  const SymbolId pos = b.symbol("pos", 4);
  const TensorSpec rows{DType::f32, Layout::dense, {4, 32}}, cache{DType::f32, Layout::dense, {8, 32}};
  Attrs at;
  at.symbols[0] = pos;
  const ValueId x = b.input("x", rows), s = b.state("s", cache);
  const ValueId old = b.call(ops::silu, {s});
  const ValueId next = b.call(ops::append_rows, {s, x}, at);
  b.output(old);
  const Graph g = b.finish();
  Plan p;
  p.machine = "hand";
  p.graph_fingerprint = g.fingerprint();
  p.tiers = {"dram", "disk"};
  p.arenas = {{0, 64_KiB}};
  p.kernels = {"silu.reference", "append_rows.reference"};
  auto put = [&](ValueId v, Use use, u64 offset) {
    Placement q;
    q.value = v;
    q.use = use;
    q.offset = offset;
    q.bytes = g.value(v).spec.bytes(g.symbol_bounds());
    p.placements.push_back(q);
  };
  put(x, Use::inputs, 0);
  put(s, Use::state, 4096);
  put(old, Use::activations, 8192);
  Body body;
  body.name = "only";
  body.symbols = {{0, 4}};
  body.typical = {0};
  body.operands = {{s, 1}, {old, 2}, {s, 1}, {x, 0}, {next, 1}};
  body.edges = {{Edge::done, 0}};
  Step silu, append;
  silu.node = 0;
  silu.kernel = 0;
  silu.n_reads = silu.n_writes = 1;
  append.node = append.kernel = 1;
  append.n_reads = 2;
  append.n_writes = 1;
  append.first_operand = 2;
  append.n_edges = 1;
  body.steps = {silu, append};
  p.bodies = {body};
  EXPECT_EQ(text(verify(g, machine, p, {})), "");
  auto classes = [&] { return text(verify(g, machine, p, {})); };
  p.bodies[0].steps = {append, silu};  // the edge turned round: silu now follows append
  p.bodies[0].steps[0].n_edges = 0;
  p.bodies[0].steps[1].n_edges = 1;
  EXPECT_NE(classes().find("read_before_write"), std::string::npos) << classes();
  p.bodies[0].steps[1].n_edges = 0;
  EXPECT_NE(classes().find("race"), std::string::npos) << classes();
}

TEST_F(VerifyTest, NotArrivedFromTheRing) {
  drop(prompt(), S::linear0, 0);
  EXPECT_TRUE(finds(Defect::not_arrived));
}

TEST_F(VerifyTest, NotArrivedWithoutLoad) {
  plan.bodies[0].steps.clear();
  EXPECT_TRUE(finds(Defect::not_arrived));
}

TEST_F(VerifyTest, NotArrivedFromAFile) {
  read(S::linear_pinned, 1).placement = P::file_pinned;
  EXPECT_TRUE(finds(Defect::not_arrived));
}

TEST_F(VerifyTest, RaceOverwritesTheRing) {
  drop(prompt(), S::bring2, 0);  // may overwrite block 0 under its reader
  EXPECT_TRUE(finds(Defect::race));
}

TEST_F(VerifyTest, RaceOfScratch) {
  place(P::staging).offset = place(P::y).offset + 512;  // room, but in y's bytes
  place(P::y).birth = S::linear0;
  EXPECT_FALSE(check().empty());
}

TEST_F(VerifyTest, RaceBetweenLifetimes) {
  place(P::z).offset = place(P::staging).offset;  // the scratch of attention lies there as well
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyTest, OverlapOfPersistent) {
  const u64 offset = place(P::cache).offset;
  place(P::cache).offset = place(P::pinned).offset;
  EXPECT_TRUE(finds(Defect::overlap));
  place(P::cache).offset = offset;
  place(P::ids).offset = place(P::x).offset;
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyTest, OverlapOfPadding) {
  place(P::ids).offset = place(P::pinned).offset - 16;  // where the granule before the payload lands
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyTest, OverlapInUse) {
  place(P::o).offset = place(P::z).offset;  // written while z is read
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyTest, OutsideArena) {
  place(P::scratch).offset = 128 << 10;
  EXPECT_TRUE(finds(Defect::outside_arena));
  place(P::scratch).offset = ~u64{0} - 63;
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyTest, ElsewhereInTheFile) {
  place(P::file1).offset += 512;
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyTest, BeyondTheFile) {
  plan.files[0].bytes -= 1_B;
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyTest, OverBudget) {
  plan.reserves[0].bytes = plan.budget[0].bytes - plan.arenas[0].bytes;
  EXPECT_EQ(text(check()), "");
  plan.reserves[0].bytes += 1_B;
  EXPECT_TRUE(finds(Defect::over_budget));
  plan.reserves[0].bytes = Bytes{~u64{0}};  // sums must not wrap
  EXPECT_TRUE(finds(Defect::over_budget));
}

TEST_F(VerifyTest, OverCapacity) {
  plan.budget.clear();
  EXPECT_EQ(text(check()), "");
  machine.tiers[0].capacity = 128_KiB;
  EXPECT_TRUE(finds(Defect::over_budget));
}

TEST_F(VerifyTest, Misaligned) {
  place(P::ring1).offset += 4;
  EXPECT_TRUE(finds(Defect::misaligned));
  place(P::ring1).offset -= 4;
  --place(P::ring1).pad_after;
  EXPECT_TRUE(finds(Defect::misaligned));
  ++place(P::ring1).pad_after;
  place(P::staging).offset += 64;
  EXPECT_TRUE(finds(Defect::misaligned));
  place(P::staging).offset -= 64;
  machine.tiers[1].granule = 4096_B;  // the plan's is 512
  EXPECT_TRUE(finds(Defect::misaligned));
}

TEST_F(VerifyTest, Unaccounted) {
  const std::vector<std::function<void()>> breaks = {
      [&] { place(P::x).bytes -= 1_B; },           [&] { place(P::ring0).bytes += 256_B; },
      [&] { place(P::staging).bytes -= 1_B; },     [&] { place(P::scratch).bytes = Bytes{64}; },
      [&] { step(S::attention).scratch = kNone; }, [&] { place(P::x).death = S::linear2; },
      [&] { place(P::z).birth = S::append; },      [&] { step(S::gather).scratch = kNone; },
      [&] { step(S::attention).scratch = P::x; }};
  for (std::size_t i = 0; i < breaks.size(); ++i) {
    const Plan sound = plan;
    breaks[i]();
    EXPECT_TRUE(finds(Defect::unaccounted)) << "case " << i;
    plan = sound;
  }
}

TEST_F(VerifyTest, OutputDiesEarly) {
  Step idle = step(S::add);  // one more step, after the output
  prompt().steps.push_back(idle);
  EXPECT_TRUE(finds(Defect::unaccounted));
}

TEST_F(VerifyTest, WrongRepetition) {
  edge(S::bring0, 0).of = 0;  // block 0 of the slot, not block 2, its last occupant
  EXPECT_TRUE(finds(Defect::wrong_repetition));
  edge(S::bring0, 0).of = 2;
  drop(prompt(), S::bring1, 0);
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyTest, WrongTransition) {
  drop(plan.bodies[2], S::bring0, 0);  // decode after prompt
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyTest, StreamOrder) {
  std::swap(step(S::bring0), step(S::bring1));
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyTest, MissingBlock) {
  plan.stream.push_back(plan.stream[0]);
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyTest, StateMustPersist) {
  place(P::cache).body = 1;
  place(P::cache).death = S::attention;
  plan.bodies.pop_back();
  plan.placements.resize(P::end);
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyTest, Cycle) {
  edge(S::linear_pinned, 0).of = S::add;
  EXPECT_TRUE(finds(Defect::cycle));
}

TEST_F(VerifyTest, CycleThroughTheLane) {
  // Block 0 waits for a compute that waits for block 2, which is issued after it.
  edge(S::bring0, 0) = {Edge::done, S::linear2};
  EXPECT_TRUE(finds(Defect::cycle));
}

TEST_F(VerifyTest, ComputeWaitsForALaterCompute) {
  edge(S::linear1, 1).of = S::linear2;
  EXPECT_TRUE(finds(Defect::cycle));
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

TEST_F(VerifyTest, WeightInNoFile) {
  weights.clear();
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyTest, MisalignedElements) {
  place(P::x).offset += 2;
  EXPECT_TRUE(finds(Defect::misaligned));
  place(P::x).offset -= 2;
  place(P::scratch).offset += 16;
  EXPECT_TRUE(finds(Defect::misaligned));
}

TEST_F(VerifyTest, OutputOutlivesTheLastStep) {
  prompt().steps.push_back(step(S::add));
  for (u32 p : {P::x, P::y, P::z}) place(p).death = S::count;  // so that only the output's own end is wrong
  EXPECT_TRUE(finds(Defect::unaccounted));
}

TEST_F(VerifyTest, BlockReplacedBeforeItsReader) {
  edge(S::bring2, 0).of = S::gather;  // block 2 lands in block 0's slot, and the reader of block 0 waits for that
  edge(S::linear0, 1).of = S::bring2;
  EXPECT_TRUE(finds(Defect::overlap));
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
