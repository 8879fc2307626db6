#include "terrace/ops/ops.h"

#include <gtest/gtest.h>

#include "terrace/graph/graph.h"

namespace terrace {
namespace {

Cost cost_of(const OpDef& op, std::vector<TensorSpec> in, const Attrs& attrs, std::vector<i64> symbols = {}) {
  const std::vector<TensorSpec> out = op.infer(in, attrs);
  std::vector<TensorView> vi, vo;
  for (const TensorSpec& s : in) vi.push_back(make_view(s, nullptr, symbols));
  for (const TensorSpec& s : out) vo.push_back(make_view(s, nullptr, symbols));
  return op.cost({vi, vo, attrs, symbols});
}
TensorSpec f32(Shape s) { return {DType::f32, Layout::dense, s}; }

TEST(Ops, EveryRowOfTheTableIsWhole) {
  for (const OpDef* op : ops::all()) {
    EXPECT_EQ(ops::find(op->name), op);
    EXPECT_TRUE(op->infer && op->cost && op->scratch) << op->name;
    EXPECT_LE(op->n_inputs + op->n_outputs, kMaxOperands) << op->name;
    for (const Axis& a : op->axes) EXPECT_EQ(a.kind == Axis::none, a.name.empty()) << op->name;
  }
  EXPECT_EQ(ops::find("nothing"), nullptr);
}

TEST(Ops, LinearCountsTwoOperationsAMultiplyAdd) {
  const Cost c = cost_of(
      ops::linear, {{DType::f32, Layout::q8a, {Dim(2), Dim(64)}}, {DType::f32, Layout::q4_1, {Dim(10), Dim(64)}}}, {});
  EXPECT_DOUBLE_EQ(c.flops, 2.0 * 2 * 10 * 64);
  EXPECT_EQ(c.read[0].count, 2u * 80);
  EXPECT_EQ(c.read[1].count, 10u * 40);
  EXPECT_EQ(c.write[0].count, 2u * 10 * 4);
}

TEST(Ops, AttentionReadsTheCacheUpToThePosition) {
  Attrs a;
  a.ints = {4, 2, 0, 0};
  a.symbols[0] = 0;
  const TensorSpec cache{DType::f16, Layout::dense, {Dim(100), Dim(64)}};
  const Cost c = cost_of(ops::attention, {f32({Dim(3), Dim(128)}), cache, cache}, a, {10});
  EXPECT_EQ(c.read[1].count, 13u * 64 * 2);
  EXPECT_EQ(c.read[2], c.read[1]);
  // rows have 11, 12 and 13 keys; each takes 2 * 32 for the score and 2 * 32 for the sum, in 4 heads
  EXPECT_DOUBLE_EQ(c.flops, (11 + 12 + 13) * 4.0 * 32 * 4);
}

TEST(Ops, TakingRowsReadsOnlyThem) {
  const Cost c = cost_of(ops::take_rows,
                         {{DType::f32, Layout::q8_0, {Dim(1000), Dim(64)}}, {DType::i32, Layout::dense, {Dim(3)}}}, {});
  EXPECT_EQ(c.read[0].count, 3u * 68);
  EXPECT_EQ(c.read[1].count, 12u);
  EXPECT_EQ(c.write[0].count, 3u * 68);
}

TEST(Ops, AppendingWritesOnlyTheRows) {
  Attrs a;
  a.symbols[0] = 0;
  const Cost c =
      cost_of(ops::append_rows, {{DType::f16, Layout::dense, {Dim(100), Dim(64)}}, f32({Dim(3), Dim(64)})}, a, {7});
  EXPECT_EQ(c.read[0].count, 0u);
  EXPECT_EQ(c.read[1].count, 3u * 64 * 4);
  EXPECT_EQ(c.write[0].count, 3u * 64 * 2);
}

}  // namespace
}  // namespace terrace
