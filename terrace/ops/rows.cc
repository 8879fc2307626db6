// take_rows, last_rows, dequantize, quantize: rows moved or written in another format.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_take_rows(std::span<const TensorSpec> in, const Attrs&) {
  require(in[0].shape.rank == 2 && in[1].shape.rank == 1, "needs a matrix and a vector of ids");
  require(in[1].dtype == DType::i32, "ids must be i32");
  return {{in[0].dtype, in[0].layout, {in[1].shape[0], in[0].shape[1]}}};
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
  return {dense(in[0].shape)};
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
                      {parallel_axis("n", {-1, 0, 0, -1, -1, -1})},
                      -1,
                      true};
const OpDef last_rows{"last_rows", OpClass::data_movement, 1, 1, infer_last_rows, cost_last_rows, no_scratch, {}};
const OpDef dequantize{
    "dequantize",     OpClass::elementwise, 1,          1,
    infer_dequantize, cost_dequantize,      no_scratch, {parallel_axis("n", {0, 0, -1, -1, -1, -1})}};
const OpDef quantize{"quantize",     OpClass::elementwise, 1,          1,
                     infer_quantize, cost_quantize,        no_scratch, {parallel_axis("n", {0, 0, -1, -1, -1, -1})}};

}  // namespace terrace::ops
