#include "terrace/program/class_table.h"

#include <gtest/gtest.h>

#include "support/planning.h"
#include "terrace/ops/ops.h"
#include "terrace/program/program.h"

namespace terrace {
namespace {

/// gelu(a b^T) twice: two products and two activations.
TEST(ClassTable, SumsStepsByClass) {
  const i64 m = 5, n = 7, k = 11;
  GraphBuilder b;
  const auto f32 = [](i64 rows, i64 columns) {
    return TensorSpec{DType::f32, Layout::dense, {Dim(rows), Dim(columns)}};
  };
  const ValueId x = b.input("x", f32(m, k)), w = b.state("w", f32(n, k));
  Attrs turned;
  turned.ints = {0, 1, 1, 0};
  for (int i = 0; i < 2; ++i) b.output(b.call(ops::gelu, {b.call(ops::matmul, {x, w}, turned)}));
  PlanRequest request;
  BodyRequest body;
  body.name = "all";
  request.bodies = {body};
  request.isa = Isa::portable;
  Program p = compile(b.finish(), testing::small_machine(64), request);
  p.load({});
  std::vector<float> values(static_cast<std::size_t>(m * k), 1.0f);
  const InputBinding in{x, std::as_bytes(std::span(values))};
  const Trace predicted = p.predict({}), measured = p.run({{}, {&in, 1}});
  const std::vector<ClassRow> rows =
      class_table(p.graph(), p.plan(), measured, predicted, {OpsPerSecond{1e9}, BytesPerSecond{2e9}});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "contraction");
  EXPECT_EQ(rows[1].name, "elementwise");
  EXPECT_EQ(rows[2].name, "unaccounted");
  EXPECT_EQ(rows[0].steps, 2);
  EXPECT_DOUBLE_EQ(rows[0].flops, 2 * 2.0 * m * n * k);
  EXPECT_EQ(rows[0].bytes.count, static_cast<u64>(2 * 4 * (m * k + n * k + m * n)));
  EXPECT_DOUBLE_EQ(rows[0].bound_seconds, rows[0].flops / 1e9) << "operations take longer than bytes";
  EXPECT_EQ(rows[1].bytes.count, static_cast<u64>(2 * 4 * 2 * m * n));
  EXPECT_DOUBLE_EQ(rows[1].bound_seconds, rows[1].flops / 1e9);
  double seconds = 0, told = 0;
  for (const ClassRow& r : rows) seconds += r.seconds, told += r.predicted_seconds;
  EXPECT_DOUBLE_EQ(seconds, measured.totals.seconds);
  EXPECT_NEAR(told, predicted.totals.seconds, 1e-12);
  EXPECT_GT(rows[0].seconds, 0);
  // Where memory is slow, bytes are what takes the time.
  const auto slow = class_table(p.graph(), p.plan(), measured, predicted, {OpsPerSecond{1e9}, BytesPerSecond{1e3}});
  EXPECT_DOUBLE_EQ(slow[1].bound_seconds, static_cast<double>(rows[1].bytes.count) / 1e3);
}

TEST(ClassTable, RooflineIsMeasured) {
  const Roofline r = measure_roofline(1, best_isa());
  EXPECT_GT(r.peak.value, 1e8);
  EXPECT_GT(r.bandwidth.value, 1e8);
}

}  // namespace
}  // namespace terrace
