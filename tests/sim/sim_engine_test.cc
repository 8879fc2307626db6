// Closed-form checks: each figure is worked out by hand from the machine's numbers.
#include "terrace/sim/sim_engine.h"

#include <gtest/gtest.h>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace {
namespace {

constexpr i64 kRows = 1024, kColumns = 1024;  // a block: 4 MiB of f32
constexpr double kBlockBytes = 4.0 * kRows * kColumns;

/// `blocks` products with a weight each, all streamed through a ring of `slots`.
struct Case {
  explicit Case(u32 blocks, u32 slots, int depth) {
    machine.name = "hand";
    machine.tiers.resize(2);
    machine.tiers[0].read = machine.tiers[0].write = BytesPerSecond{40e9};
    machine.tiers[1].persistent = true;
    machine.tiers[1].read = machine.tiers[1].write = BytesPerSecond{2e9};
    machine.links.resize(1);
    machine.links[0].from = 1;
    machine.links[0].to = 0;
    machine.links[0].rate = BytesPerSecond{2e9};
    machine.units.resize(1);
    machine.units[0].near = 0;
    machine.units[0].rates = {{"linear", 1, OpsPerSecond{1e15}, {}, {}, std::nullopt}};

    GraphBuilder g;
    const TensorSpec f32{DType::f32, Layout::dense, {Dim(1), Dim(kColumns)}};
    ValueId x = g.input("x", f32);
    const ValueId in = x;
    std::vector<ValueId> values{x}, weights;
    for (u32 b = 0; b < blocks; ++b) {
      weights.push_back(g.weight("w" + std::to_string(b), {DType::f32, Layout::dense, {Dim(kRows), Dim(kColumns)}}));
      values.push_back(x = g.call(ops::linear, {x, weights.back()}));
    }
    g.output(x);
    graph = g.finish();

    plan.tiers = {"dram", "disk"};
    plan.kernels = {"linear.test"};
    plan.files = {{"weights", Bytes{static_cast<u64>(kBlockBytes) * blocks}}};
    plan.io_depth = depth;
    std::vector<u32> home;
    for (ValueId v : values) home.push_back(place(v, 0, Owner::plan, v == in ? Use::inputs : Use::activations, 4096));
    Body body;
    for (u32 b = 0; b < blocks; ++b) {
      const u32 from = place(weights[b], b * static_cast<u64>(kBlockBytes), Owner::file, Use::weights,
                             static_cast<u64>(kBlockBytes));
      const u32 to = place(weights[b], b % slots * static_cast<u64>(kBlockBytes), Owner::plan, Use::ring,
                           static_cast<u64>(kBlockBytes));
      plan.stream.push_back({from, to});
      u32 previous = b;  // the occupant before
      while (b < slots && previous + slots < blocks) previous += slots;
      const Edge free = b < slots ? Edge{Edge::released, previous} : Edge{Edge::done, 2 * (b - slots) + 1};
      Step move;
      move.kind = StepKind::move;
      move.lane = Lane::io;
      move.block = b;
      emit(body, move, {{weights[b], from}}, {{weights[b], to}}, {free});
      Step compute;
      compute.node = b;
      compute.kernel = 0;
      std::vector<Edge> after{{Edge::done, 2 * b}};
      if (b > 0) after.push_back({Edge::done, 2 * b - 1});
      emit(body, compute, {{values[b], home[b]}, {weights[b], to}}, {{values[b + 1], home[b + 1]}}, after);
    }
    plan.bodies = {body};
  }
  u32 place(ValueId v, u64 offset, Owner owner, Use use, u64 bytes) {
    Placement p;
    p.value = v;
    p.offset = offset;
    p.owner = owner;
    p.use = use;
    p.tier = owner == Owner::file ? 1 : 0;
    p.file = owner == Owner::file ? 0 : kNone;
    p.bytes = Bytes{bytes};
    plan.placements.push_back(p);
    return static_cast<u32>(plan.placements.size() - 1);
  }
  static void emit(Body& b, Step s, const std::vector<Operand>& reads, const std::vector<Operand>& writes,
                   const std::vector<Edge>& edges) {
    s.first_operand = static_cast<u32>(b.operands.size());
    s.n_reads = static_cast<std::uint16_t>(reads.size());
    s.n_writes = static_cast<std::uint16_t>(writes.size());
    b.operands.insert(b.operands.end(), reads.begin(), reads.end());
    b.operands.insert(b.operands.end(), writes.begin(), writes.end());
    s.first_edge = static_cast<u32>(b.edges.size());
    s.n_edges = static_cast<std::uint16_t>(edges.size());
    b.edges.insert(b.edges.end(), edges.begin(), edges.end());
    b.steps.push_back(s);
  }
  /// Seconds of the repetition after `warm` others.
  double seconds(int warm) const {
    SimEngine e(graph, machine, plan);
    for (int i = 0; i < warm; ++i) e.run(0, {});
    return e.run(0, {}).totals.seconds;
  }
  Machine machine;
  Graph graph;
  Plan plan;
};

constexpr double kMove = kBlockBytes / 2e9;                  // one block over the link, alone
constexpr double kRead = (kBlockBytes + 2 * 4096.0) / 40e9;  // one product bound by memory, alone

TEST(SimEngine, AStreamIsBoundByItsLink) {
  const Case c(16, 4, 2);
  // Two share the link and arrive together, so two products show, beside the next repetition's first blocks.
  EXPECT_NEAR(c.seconds(0), 16 * kMove + 2 * kRead * 40 / 38, 1e-9);
  EXPECT_NEAR(c.seconds(3), 16 * kMove, 1e-3 * kMove);  // steady: all of it hides
}

TEST(SimEngine, LatencyShowsWithOneRequestAndHidesBehindOthers) {
  Case c(16, 4, 1);
  c.machine.links[0].latency = Seconds{1e-3};
  EXPECT_NEAR(c.seconds(2), 16 * (kMove + 1e-3), 1e-3 * kMove);
  Case d(16, 4, 4);
  d.machine.links[0].latency = Seconds{1e-3};
  EXPECT_NEAR(d.seconds(3), 16 * kMove, 0.2 * 16 * kMove);
}

TEST(SimEngine, ComputeBoundStepsHideTheStream) {
  Case c(16, 4, 2);
  const double flops = 2.0 * kRows * kColumns;
  c.machine.units[0].rates[0].peak = OpsPerSecond{flops / 10e-3};  // 10 ms a step, five times its Move
  EXPECT_NEAR(c.seconds(2), 16 * 10e-3, 1e-6);
}

TEST(SimEngine, OneSlotOverlapsNothing) {
  Case c(8, 1, 4);
  c.machine.units[0].rates[0].peak = OpsPerSecond{2.0 * kRows * kColumns / 3e-3};
  EXPECT_NEAR(c.seconds(2), 8 * (kMove + 3e-3), 1e-6);
}

TEST(SimEngine, TransfersTakeBandwidthFromComputes) {
  Case c(16, 4, 2);
  c.machine.tiers[0].read = c.machine.tiers[0].write =
      BytesPerSecond{3e9};  // reading a block takes 2/3 of bringing one
  // Every byte is written at 2 GB/s and read at what is left: (S + S) / 3 GB/s > S / 2 GB/s.
  const double bytes = kBlockBytes + 2 * 4096.0;
  const double floor = 16 * (kBlockBytes + bytes) / 3e9;
  EXPECT_GE(c.seconds(3), floor * 0.999);
  EXPECT_LE(c.seconds(3), floor * 1.15);
  EXPECT_GT(floor, 16 * kMove * 1.3);
}

TEST(SimEngine, RunsAheadIntoTheNextRepetition) {
  const Case c(4, 4, 4);
  SimEngine e(c.graph, c.machine, c.plan);
  e.run(0, {});
  const Trace& t = e.run(0, {});
  EXPECT_LT(t.records[0].start, 0);
  EXPECT_EQ(t.records[0].payload, Bytes{static_cast<u64>(kBlockBytes)});
  EXPECT_EQ(t.totals.transferred[1], Bytes{static_cast<u64>(kBlockBytes) * 4});
  EXPECT_EQ(t.totals.steps_of_unknown_energy, 8);
}

TEST(SimEngine, APlanThatWaitsForItselfIsAnErrorNotAHang) {
  Case c(4, 2, 2);
  c.plan.bodies[0].edges[c.plan.bodies[0].steps[1].first_edge].of = 6;  // the first product waits for the last block
  EXPECT_THROW(c.seconds(0), Error);
}

}  // namespace
}  // namespace terrace
