#include "terrace/program/bound.h"

#include <gtest/gtest.h>

#include "terrace/ops/ops.h"
#include "terrace/program/reserve.h"

namespace terrace {
namespace {

TensorSpec f32(Shape s) { return {DType::f32, Layout::dense, s}; }

/// An embedding of which rows are picked, a matrix used twice, and a cache that attention reads.
Graph small() {
  GraphBuilder b;
  const SymbolId n = b.symbol("n", 4), pos = b.symbol("pos", 15);
  const ValueId ids = b.input("ids", {DType::i32, Layout::dense, {Dim::of(n)}});
  const ValueId table = b.weight("table", f32({Dim(100), Dim(32)})), w = b.weight("w", f32({Dim(32), Dim(32)}));
  const ValueId x = b.call(ops::take_rows, {table, ids});
  const ValueId y = b.call(ops::linear, {b.call(ops::linear, {x, w}), w});
  Attrs a;
  a.ints = {1, 1, 0, 0};
  a.symbols[0] = pos;
  const ValueId keys = b.call(ops::append_rows, {b.state("k", f32({Dim(16), Dim(32)})), y}, a);
  const ValueId values = b.call(ops::append_rows, {b.state("v", f32({Dim(16), Dim(32)})), y}, a);
  b.output(b.call(ops::attention, {y, keys, values}, a));
  return b.finish();
}

TEST(Bound, WorkCountsEachWeightOnceAndOnlyTheRowsPicked) {
  const Graph g = small();
  const i64 symbols[] = {2, 5};
  const GraphWork w = graph_work(g, symbols);
  EXPECT_EQ(w.weights.count, 32u * 32 * 4 + 2 * 32 * 4);
  EXPECT_EQ(w.state_read.count, 2u * 7 * 32 * 4);  // keys and values of 5 + 2 rows
  EXPECT_EQ(state_bytes(g).count, 2u * 16 * 32 * 4);
}

TEST(Bound, IsTheSlowestOfDiskMemoryAndArithmetic) {
  GraphWork w;
  w.weights = 100_MiB;
  w.flops = 1e9;
  const BoundRates rates{BytesPerSecond{2e9}, BytesPerSecond{30e9}, OpsPerSecond{1e12}};
  // 64 MiB less 10 MiB of cache and 12 MiB for the process keep 42 MiB: 58 MiB come from the disk.
  const Bound disk = bound_of(w, 100_MiB, 10_MiB, 64_MiB, rates);
  EXPECT_NEAR(disk.seconds.value, 58.0 * 1048576 / 2e9, 1e-12);
  EXPECT_STREQ(disk.by, "disk");
  const Bound memory = bound_of(w, 100_MiB, 10_MiB, std::nullopt, rates);
  EXPECT_NEAR(memory.seconds.value, 100.0 * 1048576 / 30e9, 1e-12);
  EXPECT_STREQ(memory.by, "dram");
  w.flops = 1e11;
  EXPECT_STREQ(bound_of(w, 100_MiB, 10_MiB, std::nullopt, rates).by, "compute");
  // A budget below the fixed need keeps nothing; a model of a GiB needs 32 MiB.
  EXPECT_NEAR(bound_of({100_MiB, {}, 0}, 100_MiB, 10_MiB, 8_MiB, rates).seconds.value, 100.0 * 1048576 / 2e9, 1e-12);
  EXPECT_NEAR(bound_of({100_MiB, {}, 0}, 2_GiB, 10_MiB, 64_MiB, rates).seconds.value, 78.0 * 1048576 / 2e9, 1e-12);
}

TEST(Reserve, NamesEachPartAndItsSource) {
  ProcessNeeds needs;
  needs.tokenizer = 1_MiB;
  needs.threads = 2;
  needs.logits = 1000;
  u64 tokenizer = 0, logits = 0;
  for (const Reserve& r : process_reserves(3, needs)) {
    EXPECT_EQ(r.tier, 3);
    EXPECT_FALSE(r.source.empty()) << r.name;
    EXPECT_EQ(r.bytes.count % 4096, 0u) << r.name;
    if (r.name == "tokenizer") tokenizer = r.bytes.count;
    if (r.name == "logits") logits = r.bytes.count;
  }
  EXPECT_EQ(tokenizer, 1u << 20);
  EXPECT_EQ(logits, round_up(8000, 4096));
}

TEST(Reserve, TheDefaultBudgetIsBelowWhatIsFree) {
  const Bytes b = default_budget();
  EXPECT_GT(b.count, 0u);
  EXPECT_LT(b, available_memory() + 1_GiB);
  EXPECT_LE(b, enclosing_limit().value_or(b));
}

}  // namespace
}  // namespace terrace
