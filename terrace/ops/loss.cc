// cross_entropy and its gradient; with_gradient; correct.
#include <optional>

#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

/// [..] for x [.., k].
Shape rows_shape(const Shape& x) {
  Shape s = x;
  --s.rank;
  s.dims[static_cast<std::size_t>(s.rank)] = Dim();
  return s;
}

void require_targets(const TensorSpec& logits, const TensorSpec& targets) {
  require(is_real(logits) && logits.shape.rank >= 2, "needs rows of logits");
  require(targets == dense(rows_shape(logits.shape), DType::i32), "needs one i32 target a row");
}
std::vector<TensorSpec> infer(std::span<const TensorSpec> in, const Attrs&) {
  require_targets(in[0], in[1]);
  const TensorSpec row = dense(rows_shape(in[0].shape), wide(in[0].dtype));
  return {row, row};
}
std::vector<TensorSpec> infer_grad(std::span<const TensorSpec> in, const Attrs&) {
  require_targets(in[0], in[1]);
  const TensorSpec row = dense(rows_shape(in[0].shape), wide(in[0].dtype));
  require(in[2] == row && in[3] == row, "needs lse and dloss by row");
  return {in[0]};
}
std::vector<TensorSpec> infer_correct(std::span<const TensorSpec> in, const Attrs&) {
  require_targets(in[0], in[1]);
  return {dense(rows_shape(in[0].shape), wide(in[0].dtype))};
}
Cost cost_correct(const OpInstance& op) { return streaming_cost(op, 0); }
Cost cost(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = 4.0 * static_cast<double>(packed_bytes(op.in[0]).count / dense_bytes(op.in[0].dtype));
  return c;
}

void grad(GradContext& c) {
  require(c.of_out(1) == kNone, "cross_entropy has no gradient through lse");
  if (c.wants(0)) c.give(0, c.call(cross_entropy_grad, {c.in(0), c.in(1), c.out(1), c.of_out()}));
}

std::vector<TensorSpec> infer_with_gradient(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && in[0].shape.rank == 1 && in[0].shape[0] == Dim(1), "needs one number");
  require(is_real(in[1]) && in[1] == in[2], "needs a gradient of the operand's spec");
  return {in[0]};
}
Cost cost_with_gradient(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[1] = c.read[2] = Bytes{};
  return c;
}

/// v if it is a constant that the graph shows: what a loss's own gradient, or a scaled one's, is.
std::optional<double> constant(const Graph& g, ValueId v) {
  const Value& value = g.value(v);
  if (value.kind != ValueKind::computed) return std::nullopt;
  const Node& n = g.node(value.producer);
  if (n.op == &fill) return n.attrs.floats[0];
  if (n.op != &scale) return std::nullopt;
  const auto x = constant(g, n.inputs[0]);
  return x ? std::optional(*x * n.attrs.floats[0]) : std::nullopt;
}

void grad_with_gradient(GradContext& c) {
  if (c.attrs().ints[0] != 0 && c.wants(0)) c.give(0, c.of_out());
  if (!c.wants(1)) return;
  const auto by = constant(c.builder().graph(), c.of_out());
  if (by && *by == 1)
    c.give(1, c.in(2));
  else if (by)
    c.give(1, c.call(scale, {c.in(2)}, with_float(*by)));
  else
    c.give(1, c.call(mul, {c.in(2), c.call(spread, {c.in(2), c.of_out()}, with_float(1))}));
}

}  // namespace

const OpDef cross_entropy{"cross_entropy",
                          OpClass::normalisation,
                          2,
                          2,
                          infer,
                          cost,
                          no_scratch,
                          {parallel_axis("n", {0, 0, 0, 0})},
                          0,
                          false,
                          grad,
                          0,
                          -1};
const OpDef cross_entropy_grad{"cross_entropy_grad",
                               OpClass::normalisation,
                               4,
                               1,
                               infer_grad,
                               cost,
                               no_scratch,
                               {parallel_axis("n", {0, 0, 0, 0, 0})},
                               0,
                               false,
                               nullptr,
                               0b1};
const OpDef with_gradient{
    "with_gradient", OpClass::elementwise, 3,  1, infer_with_gradient, cost_with_gradient, no_scratch, {}, 0,
    false,           grad_with_gradient,   0b1};
const OpDef correct{"correct",     OpClass::elementwise, 2,          1,
                    infer_correct, cost_correct,         no_scratch, {parallel_axis("n", {0, 0, 0})}};

}  // namespace terrace::ops
