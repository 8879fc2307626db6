#include "terrace/plan/estimator.h"

#include <gtest/gtest.h>

#include "support/planning.h"

namespace terrace {
namespace {

using testing::kDisk;
using testing::kMemory;

/// y[n, 48] = x[n, 64] w[48, 64]^T with rows 16..48 of w in memory at 1000, and a table of 10 rows in the file.
struct Small {
  GraphBuilder b;
  Graph g;
  Plan p;
  Body body;
  ValueId x, w, y, ids, table, rows;
  Step part, move, gather;

  Small() {
    const SymbolId n = b.symbol("n", 8);
    x = b.input("x", {DType::f32, Layout::dense, {Dim::of(n), 64}});
    w = b.weight("w", {DType::f32, Layout::q4_0, {48, 64}});
    ids = b.input("ids", {DType::i32, Layout::dense, {Dim::of(n)}});
    table = b.weight("table", {DType::f32, Layout::dense, {10, 64}});
    y = b.call(ops::linear, {x, w});
    rows = b.call(ops::take_rows, {table, ids});
    b.output(y);
    g = b.finish();
    p.granule = 512;
    p.io_depth = 4;
    p.kernels = {"linear.reference"};
    p.files = {{"f", Bytes{4096}}};
    auto place = [&](ValueId v, u64 offset, u64 bytes, Owner owner = Owner::plan) {
      Placement q;
      q.value = v;
      q.offset = offset;
      q.bytes = Bytes{bytes};
      q.owner = owner;
      if (owner == Owner::file) q.tier = kDisk, q.file = 0;
      p.placements.push_back(q);
    };
    place(x, 0, 8 * 256);
    place(w, 4096 + 576, 32 * 36);  // 1: rows 16..48
    place(y, 8192, 8 * 192);
    place(w, 576, 32 * 36, Owner::file);  // 3
    place(ids, 12288, 32);
    place(table, 1000, 2560, Owner::file);  // 5
    place(rows, 16384, 8 * 256);
    for (u32 i : {1u, 3u}) p.placements[i].row_begin = 16, p.placements[i].row_end = 48;
    part.n_reads = 2, part.n_writes = 1, part.node = 0, part.kernel = 0;
    body.operands = {{x, 0, 0, 0, -1},  {w, 1, 24, 40, 0},    {y, 2, 24, 40, 1},  {w, 3, 16, 48, 0},
                     {w, 1, 16, 48, 0}, {table, 5, 0, 0, -1}, {ids, 4, 0, 0, -1}, {rows, 6, 0, 0, -1}};
    move.kind = StepKind::move, move.n_reads = move.n_writes = 1, move.first_operand = 3;
    gather.kind = StepKind::move, gather.gather = true, gather.node = 1;
    gather.n_reads = 2, gather.n_writes = 1, gather.first_operand = 5;
  }
};

TEST(Estimator, views_of_a_part_start_at_its_rows) {
  Small s;
  std::vector<std::byte> arena(20000);
  std::byte* bases[] = {arena.data(), nullptr};
  const i64 n[] = {3};
  const StepViews v = bind_step(s.g, s.p, s.body, s.part, n, bases);
  ASSERT_EQ(v.n_in, 2);
  EXPECT_EQ(v.in[0].data - arena.data(), 0);
  EXPECT_EQ(v.in[0].dim[0], 3);
  EXPECT_EQ(v.in[1].data - arena.data(), 4672 + 8 * 36);  // row 24 is the ninth row there; 36 bytes a row
  EXPECT_EQ(v.in[1].dim[0], 16);
  EXPECT_EQ(v.out[0].data - arena.data(), 8192 + 24 * 4);
  EXPECT_EQ(v.out[0].dim[1], 16);
  EXPECT_EQ(v.out[0].stride[0], 48 * 4);
  EXPECT_EQ(bind_step(s.g, s.p, s.body, s.part, n).in[1].data, nullptr);
}

TEST(Estimator, work_of_a_part_counts_its_rows) {
  Small s;
  const i64 n[] = {3};
  const StepWork w = step_work(s.g, s.p, s.body, s.part, n);
  EXPECT_EQ(w.flops, 2.0 * 3 * 16 * 64);
  EXPECT_EQ(w.read[kMemory].count, 3 * 64 * 4 + 16 * 36);
  EXPECT_EQ(w.written[kMemory].count, 3 * 16 * 4);
  EXPECT_FALSE(w.single_row);
  const i64 one[] = {1};
  EXPECT_TRUE(step_work(s.g, s.p, s.body, s.part, one).single_row);
}

TEST(Estimator, a_move_transfers_whole_granules) {
  Small s;
  const i64 n[] = {3};
  const StepWork w = step_work(s.g, s.p, s.body, s.move, n);
  EXPECT_EQ(w.read[kDisk].count, 1152u);
  EXPECT_EQ(w.written[kMemory].count, 1152u);
  EXPECT_EQ(w.transferred.count, 1536u);  // [576, 1728) lies in [512, 2048)
  s.p.files[0].bytes = Bytes{1800};       // the file ends within the last granule
  EXPECT_EQ(step_work(s.g, s.p, s.body, s.move, n).transferred.count, 1288u);
  const Machine m = testing::small_machine();
  EXPECT_NEAR(estimate(s.g, m, s.p, s.body, s.move, w).seconds.value, 1536 / 1e9, 1e-9);
}

TEST(Estimator, a_gather_asks_once_a_row) {
  Small s;
  const i64 n[] = {3};
  const StepWork w = step_work(s.g, s.p, s.body, s.gather, n);
  EXPECT_EQ(w.requests, 3);
  EXPECT_EQ(w.read[kDisk].count, 3 * 256u);
  EXPECT_EQ(w.written[kMemory].count, 3 * 256u);
  EXPECT_EQ(w.transferred.count, 3 * (255u + 512u));
  const Machine m = testing::small_machine();
  EXPECT_GE(estimate(s.g, m, s.p, s.body, s.gather, w).seconds.value, m.links[0].latency.value);
}

TEST(Estimator, energy_is_unknown_unless_all_of_it_is_known) {
  Small s;
  const i64 n[] = {3};
  Machine m = testing::small_machine();
  const StepWork w = step_work(s.g, s.p, s.body, s.move, n);
  EXPECT_FALSE(estimate(s.g, m, s.p, s.body, s.move, w).joules.has_value());
  m.links[0].pj_per_bit = 2;
  const StepEstimate some = estimate(s.g, m, s.p, s.body, s.move, w);
  EXPECT_FALSE(some.joules.has_value());
  EXPECT_NEAR(some.known_joules.value, 1536 * 8 * 2e-12, 1e-15);
  for (Tier& t : m.tiers) t.energy = {1.0, 1.0};
  EXPECT_NEAR(estimate(s.g, m, s.p, s.body, s.move, w).joules.value().value, (1536 * 16 + 1152 * 16) * 1e-12, 1e-15);
}

TEST(Estimator, physical_bound_by_hand) {
  const BytesPerSecond disk{1e9}, dram{10e9};
  const OpsPerSecond peak{1e12};
  Bound b = physical_bound(Bytes{100000000}, Bytes{60000000}, Bytes{10000000}, 2e8, disk, dram, peak);
  EXPECT_STREQ(b.by, "disk");
  EXPECT_DOUBLE_EQ(b.seconds.value, 0.04);
  b = physical_bound(Bytes{100000000}, Bytes{100000000}, Bytes{10000000}, 2e8, disk, dram, peak);
  EXPECT_STREQ(b.by, "dram");
  EXPECT_DOUBLE_EQ(b.seconds.value, 0.011);
  b = physical_bound(Bytes{100000000}, Bytes{200000000}, Bytes{}, 2e10, disk, dram, peak);
  EXPECT_STREQ(b.by, "compute");
  EXPECT_DOUBLE_EQ(b.seconds.value, 0.02);
}

}  // namespace
}  // namespace terrace
