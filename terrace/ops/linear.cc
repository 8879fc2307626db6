// linear: y = x w^T. The order of additions along k stands in kernels/cpu/linear.h.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer(std::span<const TensorSpec> in, const Attrs&) {
  const TensorSpec &x = in[0], &w = in[1];
  require(x.shape.rank == 2 && w.shape.rank == 2, "needs matrices");
  require(is_dense(x) || is_dense(x, DType::f64) || x.layout == Layout::q8a, "x must be dense f32 or q8a");
  require(w.layout != Layout::q8a && w.dtype != DType::i32, "w must be dense or in a weight's block layout");
  require(x.layout == Layout::dense || w.layout != Layout::dense, "q8a activations go with block layouts only");
  require(x.shape.last() == w.shape.last(), "x and w need the same number of columns");
  return {dense({x.shape[0], w.shape[0]}, wide(x.dtype))};
}

Cost cost(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = 2.0 * static_cast<double>(op.out[0].dim[0]) * static_cast<double>(op.out[0].dim[1]) *
            static_cast<double>(op.in[1].dim[1]);
  return c;
}

void grad(GradContext& c) {
  Attrs a;
  a.ints = {0, 0, 1, 0};
  if (c.wants(0)) c.give(0, c.call(matmul, {c.of_out(), c.in(1)}, a));
  a.ints[0] = 1;
  if (c.wants(1)) c.give(1, c.call(matmul, {c.of_out(), c.in(0)}, a));
}

}  // namespace

const OpDef linear{
    "linear",   OpClass::contraction,
    2,          1,
    infer,      cost,
    no_scratch, {parallel_axis("n", {0, -1, 0}), parallel_axis("r", {-1, 0, 1}), reduce_axis("k", {1, 1}, kBlock * 4)},
    0,          false,
    grad};

}  // namespace terrace::ops
