// A plan small enough to work out by hand: z = (x w1^T) w2^T with two f32 matrices of 64 x 64 (16 KiB each).
#include <gtest/gtest.h>

#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

using testing::kDisk;
using testing::kMemory;

struct Tiny {
  Graph graph;
  Machine machine = testing::small_machine();
  KernelTable kernels;
  PlanRequest request;

  Tiny() {
    GraphBuilder b;
    const SymbolId n = b.symbol("n", 2);
    const ValueId x = b.input("x", {DType::f32, Layout::dense, {Dim::of(n), 64}});
    const ValueId w1 = b.weight("w1", {DType::f32, Layout::dense, {64, 64}});
    const ValueId w2 = b.weight("w2", {DType::f32, Layout::dense, {64, 64}});
    const ValueId y = b.call(ops::linear, {x, w1}, {}, "y");
    b.output(b.call(ops::linear, {y, w2}, {}, "z"));
    graph = b.finish();
    register_reference(kernels);
    request.isa = Isa::reference;
    request.files = {{"w", Bytes{512 + 2 * 16384}}};
    for (const ValueId w : {w1, w2}) {
      Placement p;
      p.value = w;
      p.tier = kDisk;
      p.owner = Owner::file;
      p.use = Use::weights;
      p.file = 0;
      p.offset = w == w1 ? 512 : 512 + 16384;
      p.bytes = 16_KiB;
      request.weights.push_back(p);
    }
    request.bodies = {{"step", {{1, 2}}, {1}, 1, kNoSymbol}};
  }
  Plan plan(u64 budget) {
    request.budget = {{kMemory, Bytes{budget}}};
    return make_plan(graph, machine, kernels, request);
  }
};

TEST(PlannerTiny, all_in_memory) {
  Tiny t;
  // y, z and x of 512 B make a page, the weights 32 KiB; page tables are 4 + 16 KiB; the plan has 2 nodes
  // and two weights to load: 4 steps of 448 B are less than a page.
  const Plan p = t.plan(1 << 20);
  EXPECT_EQ(p.arena_bytes(kMemory).count, 4096u + 2 * 16384);
  EXPECT_EQ(p.total_bytes(kMemory).count, 4096u + 2 * 16384 + 20480 + 4096);
  ASSERT_EQ(p.bodies.size(), 2u);
  EXPECT_EQ(p.bodies[0].steps.size(), 2u);
  ASSERT_EQ(p.bodies[1].steps.size(), 2u);
  EXPECT_EQ(p.bodies[1].after(p.bodies[1].steps[0]).size(), 0u);
  ASSERT_EQ(p.bodies[1].after(p.bodies[1].steps[1]).size(), 1u);
  EXPECT_EQ(p.bodies[1].after(p.bodies[1].steps[1])[0].of, 0u);
  EXPECT_TRUE(verify(t.graph, t.machine, p, t.request.weights).empty());
}

TEST(PlannerTiny, smallest_budget_by_hand) {
  Tiny t;
  // 16 rows are 4 KiB and two granules: slots of two pages, two of them; one page for values; page tables; Moves
  // and Computes of 8 blocks are 16 steps of 448 B: two pages.
  EXPECT_EQ(smallest_budget(t.graph, t.machine, t.kernels, t.request).count, 2u * 8192 + 4096 + 20480 + 2 * 4096);
}

TEST(PlannerTiny, streamed_plan_as_text) {
  Tiny t;
  const Plan p = t.plan(49152);
  EXPECT_TRUE(verify(t.graph, t.machine, p, t.request.weights).empty());
  const std::string text = to_text(p, t.graph, true);
  const char* const golden = R"(plan for test: 1 workers, 8 transfers in flight, granule 512 B
MiB                                   dram        disk
  ring                                0.02           -
  inputs                              0.00           -
  activations                         0.00           -
  weights in file, streamed              -        0.03
  unaccounted (alignment)             0.00           -
  page tables                         0.02           -
  plan and trace                      0.01           -
  total                               0.05           -
  free                                0.00           -
  budget                              0.05           -
smallest budget 0.05 MiB
body load: n 0..2; 0 steps, 0.00 MiB moved, compute 0.00 us, transfers 0.00 us
body step: n 1..2; 16 steps, 0.03 MiB moved, compute 11.53 us, transfers 32.77 us
      0 move                             w1@file+512[0:0..16] -> w1@dram+0[0:0..16] released 4  4096 B  4.10 us
      1 move                             w1@file+4608[0:16..32] -> w1@dram+4096[0:16..32] released 5  4096 B  4.10 us
      2 move                             w1@file+8704[0:32..48] -> w1@dram+8192[0:32..48] released 6  4096 B  4.10 us
      3 move                             w1@file+12800[0:48..64] -> w1@dram+12288[0:48..64] released 7  4096 B  4.10 us
      4 compute linear.reference         x1 x@dram+17408 w1@dram+0[0:0..16] -> y@dram+16384[1:0..16] after 0  4416 B  1.44 us
      5 move                             w2@file+16896[0:0..16] -> w2@dram+0[0:0..16] after 4  4096 B  4.10 us
      6 compute linear.reference         x1 x@dram+17408 w1@dram+4096[0:16..32] -> y@dram+16384[1:16..32] after 1  4416 B  1.44 us
      7 move                             w2@file+20992[0:16..32] -> w2@dram+4096[0:16..32] after 6  4096 B  4.10 us
      8 compute linear.reference         x1 x@dram+17408 w1@dram+8192[0:32..48] -> y@dram+16384[1:32..48] after 2  4416 B  1.44 us
      9 move                             w2@file+25088[0:32..48] -> w2@dram+8192[0:32..48] after 8  4096 B  4.10 us
     10 compute linear.reference         x1 x@dram+17408 w1@dram+12288[0:48..64] -> y@dram+16384[1:48..64] after 3  4416 B  1.44 us
     11 move                             w2@file+29184[0:48..64] -> w2@dram+12288[0:48..64] after 10  4096 B  4.10 us
     12 compute linear.reference         x1 y@dram+16384 w2@dram+0[0:0..16] -> z@dram+16896[1:0..16] after 5 after 6 after 8 after 10  4416 B  1.44 us
     13 compute linear.reference         x1 y@dram+16384 w2@dram+4096[0:16..32] -> z@dram+16896[1:16..32] after 4 after 7 after 8 after 10  4416 B  1.44 us
     14 compute linear.reference         x1 y@dram+16384 w2@dram+8192[0:32..48] -> z@dram+16896[1:32..48] after 4 after 6 after 9 after 10  4416 B  1.44 us
     15 compute linear.reference         x1 y@dram+16384 w2@dram+12288[0:48..64] -> z@dram+16896[1:48..64] after 4 after 6 after 8 after 11  4416 B  1.44 us
)";
  EXPECT_EQ(text, golden) << text;
}

}  // namespace
}  // namespace terrace
