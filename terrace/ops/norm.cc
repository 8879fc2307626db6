// rms_norm, softmax: a row at a time.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_rms_norm(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_dense(in[0]) && is_dense(in[1]), "needs dense f32");
  require(in[1].shape.rank == 1 && in[1].shape.last() == in[0].shape.last(), "needs one weight a column");
  require(a.floats[0] >= 0, "floats[0] (eps) must not be negative");
  return {in[0]};
}
std::vector<TensorSpec> infer_softmax(std::span<const TensorSpec> in, const Attrs&) {
  require(is_dense(in[0]), "needs dense f32");
  return {in[0]};
}
Cost cost_norm(const OpInstance& op) { return streaming_cost(op, 4); }

}  // namespace

const OpDef rms_norm{"rms_norm",
                     OpClass::normalisation,
                     2,
                     1,
                     infer_rms_norm,
                     cost_norm,
                     no_scratch,
                     {parallel_axis("n", {0, -1, 0, -1, -1, -1}), reduce_axis("k", {1, 0, 1, -1, -1, -1}, 1)}};
const OpDef softmax{"softmax",
                    OpClass::normalisation,
                    1,
                    1,
                    infer_softmax,
                    cost_norm,
                    no_scratch,
                    {parallel_axis("n", {0, 0, -1, -1, -1, -1}), reduce_axis("k", {1, 1, -1, -1, -1, -1}, 1)}};

}  // namespace terrace::ops
