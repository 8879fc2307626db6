// take_rows, scatter_rows, last_rows, dequantize, quantize, cast, dropout: rows moved or written in another format.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_take_rows(std::span<const TensorSpec> in, const Attrs&) {
  require(in[0].shape.rank == 2 && in[1].shape.rank < kMaxRank, "needs a matrix and ids");
  require(in[1].dtype == DType::i32, "ids must be i32");
  TensorSpec rows{in[0].dtype, in[0].layout, in[1].shape};
  rows.shape[rows.shape.rank++] = in[0].shape[1];
  return {rows};
}
std::vector<TensorSpec> infer_scatter_rows(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]) && in[2] == infer_take_rows(in.first(2), a)[0],
          "needs a row for each id, in the table's type");
  return {in[0]};
}
std::vector<TensorSpec> infer_positions(std::span<const TensorSpec> in, const Attrs& a) {
  require(a.ints[0] >= 0 && a.ints[0] < in[0].shape.rank, "ints[0] (axes after the positions) must leave one");
  Shape s;
  for (int i = 0; i < in[0].shape.rank - static_cast<int>(a.ints[0]); ++i)
    s.dims[static_cast<std::size_t>(s.rank++)] = in[0].shape[i];
  return {dense(s, DType::i32)};
}
Cost cost_positions(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[0] = Bytes{};
  return c;
}
Cost cost_scatter_rows(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[0] = Bytes{};
  c.flops = static_cast<double>(c.read[2].count / dense_bytes(op.in[2].dtype));
  return c;
}
std::vector<TensorSpec> infer_cast(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]), "needs dense numbers");
  require(a.ints[0] >= 0 && a.ints[0] <= 2, "ints[0]: 0 f32, 1 bf16, 2 f64");
  constexpr DType kTo[] = {DType::f32, DType::bf16, DType::f64};
  return {dense(in[0].shape, kTo[a.ints[0]])};
}
Cost cost_cast(const OpInstance& op) { return streaming_cost(op, 1); }
std::vector<TensorSpec> infer_dropout(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]) && in[1] == dense({Dim(1)}, DType::i32), "needs dense numbers and a step i32 [1]");
  require(a.floats[0] >= 0 && a.floats[0] < 1, "floats[0] (probability) must be in [0, 1)");
  return {in[0]};
}
Cost cost_dropout(const OpInstance& op) { return streaming_cost(op, 12); }

void grad_take_rows(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(scatter_rows, {c.in(0), c.in(1), c.of_out()}));
}
void grad_dequantize(GradContext& c) {
  require(!c.wants(0) || is_real(c.spec(c.in(0))), "dequantize has no gradient through a block layout");
  if (c.wants(0)) c.give(0, c.of_out());
}
void grad_cast(GradContext& c) {
  const DType t = c.spec(c.in(0)).dtype;
  if (c.wants(0)) c.give(0, c.call(cast, {c.of_out()}, with_int(t == DType::f32 ? 0 : t == DType::bf16 ? 1 : 2)));
}
void grad_dropout(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(dropout, {c.of_out(), c.in(1)}, c.attrs()));  // the same mask
}
Cost cost_take_rows(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[0] = c.write[0];  // only the rows that are taken
  return c;
}

std::vector<TensorSpec> infer_last_rows(std::span<const TensorSpec> in, const Attrs&) {
  require(in[0].shape.rank == 2, "needs a matrix");
  return {{in[0].dtype, in[0].layout, {Dim(1), in[0].shape[1]}}};
}
Cost cost_last_rows(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[0] = c.write[0];
  return c;
}

std::vector<TensorSpec> infer_dequantize(std::span<const TensorSpec> in, const Attrs&) {
  require(in[0].dtype != DType::i32, "needs numbers");
  return {dense(in[0].shape, is_real(in[0]) ? wide(in[0].dtype) : DType::f32)};
}
Cost cost_dequantize(const OpInstance& op) { return streaming_cost(op, 2); }

std::vector<TensorSpec> infer_quantize(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]) && in[0].shape.rank == 2, "needs a dense f32 matrix");
  return {{DType::f32, Layout::q8a, in[0].shape}};
}
Cost cost_quantize(const OpInstance& op) { return streaming_cost(op, 3); }

}  // namespace

const OpDef take_rows{"take_rows",
                      OpClass::data_movement,
                      2,
                      1,
                      infer_take_rows,
                      cost_take_rows,
                      no_scratch,
                      {parallel_axis("n", {-1, 0, 0})},
                      0,
                      true,
                      grad_take_rows,
                      0,
                      0};
const OpDef scatter_rows{"scatter_rows",     OpClass::data_movement, 3,         1,
                         infer_scatter_rows, cost_scatter_rows,      no_scratch};
const OpDef positions{"positions", OpClass::data_movement, 1, 1, infer_positions, cost_positions, no_scratch};
const OpDef cast{"cast", OpClass::elementwise, 1, 1, infer_cast, cost_cast, no_scratch, {}, 0, false, grad_cast};
const OpDef dropout{"dropout", OpClass::elementwise, 2,  1, infer_dropout, cost_dropout, no_scratch, {}, 0,
                    false,     grad_dropout,         0b1};
const OpDef last_rows{"last_rows", OpClass::data_movement, 1, 1, infer_last_rows, cost_last_rows, no_scratch, {}};
const OpDef dequantize{"dequantize", OpClass::elementwise,         1, 1,     infer_dequantize, cost_dequantize,
                       no_scratch,   {parallel_axis("n", {0, 0})}, 0, false, grad_dequantize};
const OpDef quantize{"quantize",     OpClass::elementwise, 1,          1,
                     infer_quantize, cost_quantize,        no_scratch, {parallel_axis("n", {0, 0})}};

}  // namespace terrace::ops
