// What the verifier says of edges, arrivals and repetitions.
#include "plan/verify_fixture.h"
#include "support/random_graph.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

using P = testing::HandPlaces;
using S = testing::HandSteps;
using testing::text;

class VerifyOrderTest : public testing::VerifyFixture {};

TEST_F(VerifyOrderTest, ReadBeforeWrite) {
  drop(prompt(), S::add, 0);  // does not wait for the pinned rows
  EXPECT_TRUE(finds(Defect::read_before_write));
  EXPECT_TRUE(finds(Defect::race));
}

TEST_F(VerifyOrderTest, ReadsAReplacedState) {
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
  p.arenas = {{0, 12_KiB}};
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

TEST_F(VerifyOrderTest, NotArrivedFromTheRing) {
  drop(prompt(), S::linear0, 0);
  EXPECT_TRUE(finds(Defect::not_arrived));
}

TEST_F(VerifyOrderTest, NotArrivedWithoutLoad) {
  plan.bodies[0].steps.clear();
  EXPECT_TRUE(finds(Defect::not_arrived));
}

TEST_F(VerifyOrderTest, NotArrivedFromAFile) {
  read(S::linear_pinned, 1).placement = P::file_pinned;
  EXPECT_TRUE(finds(Defect::not_arrived));
}

TEST_F(VerifyOrderTest, RaceOverwritesTheRing) {
  drop(prompt(), S::bring2, 0);  // may overwrite block 0 under its reader
  EXPECT_TRUE(finds(Defect::race));
}

TEST_F(VerifyOrderTest, WrongRepetition) {
  edge(S::bring0, 0).of = 0;  // block 0 of the slot, not block 2, its last occupant
  EXPECT_TRUE(finds(Defect::wrong_repetition));
  edge(S::bring0, 0).of = 2;
  drop(prompt(), S::bring1, 0);
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyOrderTest, WrongTransition) {
  drop(plan.bodies[2], S::bring0, 0);  // decode after prompt
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyOrderTest, StreamOrder) {
  std::swap(step(S::bring0), step(S::bring1));
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyOrderTest, MissingBlock) {
  plan.stream.push_back(plan.stream[0]);
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyOrderTest, StateMustPersist) {
  place(P::cache).body = 1;
  place(P::cache).death = S::attention;
  plan.bodies.pop_back();
  plan.placements.resize(P::end);
  EXPECT_TRUE(finds(Defect::wrong_repetition));
}

TEST_F(VerifyOrderTest, Cycle) {
  edge(S::linear_pinned, 0).of = S::add;
  EXPECT_TRUE(finds(Defect::cycle));
}

TEST_F(VerifyOrderTest, CycleThroughTheLane) {
  // Block 0 waits for a compute that waits for block 2, which is issued after it.
  edge(S::bring0, 0) = {Edge::done, S::linear2};
  EXPECT_TRUE(finds(Defect::cycle));
}

TEST_F(VerifyOrderTest, ComputeWaitsForALaterCompute) {
  edge(S::linear1, 1).of = S::linear2;
  EXPECT_TRUE(finds(Defect::cycle));
}

TEST_F(VerifyOrderTest, EveryEdgeIsNeeded) {
  for (u32 body = 1; body < plan.bodies.size(); ++body)
    for (u32 s = 0; s < S::count; ++s)
      for (u32 i = 0; i < plan.bodies[body].steps[s].n_edges; ++i) {
        const Plan sound = plan;
        drop(plan.bodies[body], s, i);
        EXPECT_FALSE(check().empty()) << plan.bodies[body].name << " step " << s << " edge " << i;
        plan = sound;
      }
}

}  // namespace
}  // namespace terrace
