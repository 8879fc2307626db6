// add_row, sum_rows, mean: vectors and rows, and sums over them.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_add_row(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && in[1] == dense({in[0].shape.last()}, in[0].dtype), "needs a number a column, of x's type");
  return {in[0]};
}
std::vector<TensorSpec> infer_sum_rows(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]), "needs dense numbers");
  return {dense({in[0].shape.last()}, chosen_type(a.ints[0], in[0].dtype))};
}
std::vector<TensorSpec> infer_mean(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]), "needs dense numbers");
  return {dense({Dim(1)}, wide(in[0].dtype))};
}
Cost cost_add_row(const OpInstance& op) { return streaming_cost(op, 1); }
Cost cost_sum(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = 1;
  for (int a = 0; a < op.in[0].rank; ++a) c.flops *= static_cast<double>(op.in[0].dim[a]);
  return c;
}

void grad_add_row(GradContext& c) {
  if (c.wants(0)) c.give(0, c.of_out());
  if (c.wants(1)) c.give(1, c.call(sum_rows, {c.of_out()}));
}
void grad_sum_rows(GradContext& c) {
  if (!c.wants(0)) return;
  require(c.spec(c.in(0)).dtype == c.spec(c.out()).dtype, "sum_rows to another type has no gradient");
  c.give(0, c.call(add_row, {c.call(fill, {c.in(0)}, with_float(0)), c.of_out()}));
}
void grad_mean(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(spread, {c.in(0), c.of_out()}, with_float(1 / elements(c.spec(c.in(0))))));
}

}  // namespace

const OpDef add_row{"add_row",
                    OpClass::elementwise,
                    2,
                    1,
                    infer_add_row,
                    cost_add_row,
                    no_scratch,
                    {parallel_axis("n", {0, -1, 0})},
                    0,
                    false,
                    grad_add_row,
                    0b1};
const OpDef sum_rows{"sum_rows", OpClass::elementwise, 1, 1, infer_sum_rows, cost_sum, no_scratch, {}, 0,
                     false,      grad_sum_rows};
const OpDef mean{"mean", OpClass::elementwise, 1, 1, infer_mean, cost_sum, no_scratch, {}, 0, false, grad_mean};

}  // namespace terrace::ops
