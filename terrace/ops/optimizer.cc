// What changes states: dropout's and the optimizers' step count, learning rate, clipping, AdamW, SGD, accumulation.
#include "terrace/ops/fused.h"
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

constexpr i64 kRun = 16384;  // elements whose squares one sum takes
const TensorSpec kStep{DType::i32, Layout::dense, {Dim(1)}};
const TensorSpec kRate{DType::f32, Layout::dense, {Dim(4)}};

std::vector<TensorSpec> infer_square_sums(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]), "needs dense f32");
  const auto n = static_cast<i64>(elements(in[0]));
  return {dense({Dim((n + kRun - 1) / kRun)})};
}
std::vector<TensorSpec> infer_total(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]) && in[0].shape.rank == 1, "needs a dense f32 vector");
  return {dense({Dim(1)})};
}
std::vector<TensorSpec> infer_advance(std::span<const TensorSpec> in, const Attrs&) {
  require(in[0] == kStep, "counts in i32 [1]");
  return {in[0]};
}
std::vector<TensorSpec> infer_learning_rate(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[0] == kStep, "counts in i32 [1]");
  require(a.ints[0] >= 0 && a.ints[1] > a.ints[0], "ints = {warm-up, last step}: the warm-up must end before");
  require(a.floats[2] >= 0 && a.floats[2] < 1 && a.floats[3] >= 0 && a.floats[3] < 1, "betas must be in [0, 1)");
  return {kRate};
}
std::vector<TensorSpec> infer_clip(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[0] == kRate && in[1] == dense({Dim(1)}), "needs a rate and a sum of squares");
  require(a.floats[0] > 0, "floats[0] (largest norm) must be positive");
  return {kRate};
}
std::vector<TensorSpec> infer_adamw(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_dense(in[0]), "needs dense f32 weights");
  for (int i = 1; i < 4; ++i) require(in[static_cast<std::size_t>(i)] == in[0], "needs moments and gradient like w");
  require(in[4] == kRate, "needs a rate f32 [4]");
  require(a.floats[2] > 0, "floats[2] (eps) must be positive");
  return {in[0], in[1], in[2]};
}
std::vector<TensorSpec> infer_sgd(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]) && in[1] == in[0] && in[2] == in[0], "needs dense f32 weights, momentum and gradient");
  require(in[3] == kRate, "needs a rate f32 [4]");
  return {in[0], in[1]};
}
/// The parts of AdamW: tensors of one shape, then a rate.
template <int alike>
std::vector<TensorSpec> infer_part(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]), "needs dense f32 numbers");
  for (int i = 1; i < alike; ++i) require(in[static_cast<std::size_t>(i)] == in[0], "needs tensors of one shape");
  require(in[alike] == kRate, "needs a rate f32 [4]");
  return {in[0]};
}
std::vector<TensorSpec> infer_accumulate(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]) && in[1] == in[0], "needs two dense f32 tensors of one shape");
  return {in[0]};
}
template <int flops>
Cost cost(const OpInstance& op) {
  return streaming_cost(op, flops);
}
Cost cost_sum(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = 2.0 * static_cast<double>(packed_bytes(op.in[0]).count / 4);
  return c;
}

constexpr OpDef optimizer(std::string_view name, int inputs, int outputs, int in_place,
                          std::vector<TensorSpec> (*infer)(std::span<const TensorSpec>, const Attrs&),
                          Cost (*price)(const OpInstance&)) {
  return {name, OpClass::optimizer, inputs, outputs, infer, price, no_scratch, {}, in_place};
}

}  // namespace

const OpDef square_sums = optimizer("square_sums", 1, 1, 0, infer_square_sums, cost_sum);
const OpDef total = optimizer("total", 1, 1, 0, infer_total, cost_sum);
const OpDef advance = optimizer("advance", 1, 1, 1, infer_advance, cost<1>);
const OpDef learning_rate = optimizer("learning_rate", 1, 1, 0, infer_learning_rate, cost<20>);
const OpDef clip = optimizer("clip", 2, 1, 0, infer_clip, cost<4>);
const OpDef adamw = optimizer("adamw", 5, 3, 3, infer_adamw, cost<5>);
const OpDef sgd = optimizer("sgd", 4, 2, 2, infer_sgd, cost<3>);
const OpDef accumulate = optimizer("accumulate", 2, 1, 1, infer_accumulate, cost<1>);
const OpDef rescale = optimizer("rescale", 2, 1, 1, infer_part<1>, cost<1>);
const OpDef blend = optimizer("blend", 3, 1, 1, infer_part<2>, cost<4>);
const OpDef add_square = optimizer("add_square", 3, 1, 1, infer_part<2>, cost<4>);
const OpDef root = optimizer("root", 2, 1, 0, infer_part<1>, cost<3>);
const OpDef descend = optimizer("descend", 4, 1, 1, infer_part<3>, cost<3>);

}  // namespace terrace::ops
