// add, mul, silu, silu_mul: one result from each position.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_binary(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]) && is_dense(in[1]), "needs dense f32");
  require(in[0].shape == in[1].shape, "needs two tensors of one shape");
  return {in[0]};
}
std::vector<TensorSpec> infer_unary(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]), "needs dense f32");
  return {in[0]};
}
template <int flops>
Cost cost(const OpInstance& op) {
  return streaming_cost(op, flops);
}

constexpr Axis kRows2 = parallel_axis("n", {0, 0, 0, -1, -1, -1});
constexpr Axis kColumns2 = parallel_axis("k", {1, 1, 1, -1, -1, -1});

}  // namespace

const OpDef add{"add", OpClass::elementwise, 2, 1, infer_binary, cost<1>, no_scratch, {kRows2, kColumns2}};
const OpDef mul{"mul", OpClass::elementwise, 2, 1, infer_binary, cost<1>, no_scratch, {kRows2, kColumns2}};
// exp, add, divide: counted as one each.
const OpDef silu{"silu",      OpClass::elementwise,
                 1,           1,
                 infer_unary, cost<3>,
                 no_scratch,  {parallel_axis("n", {0, 0, -1, -1, -1, -1}), parallel_axis("k", {1, 1, -1, -1, -1, -1})}};
const OpDef silu_mul{"silu_mul", OpClass::elementwise, 2, 1, infer_binary, cost<4>, no_scratch, {kRows2, kColumns2}};

}  // namespace terrace::ops
