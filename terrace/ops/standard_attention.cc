#include "terrace/ops/standard_attention.h"

#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_split(std::span<const TensorSpec> in, const Attrs& a) {
  const Shape& s = in[0].shape;
  require(is_real(in[0]) && s.rank == 3, "needs dense numbers [B, T, h d]");
  require(!s.last().is_symbol() && a.ints[0] > 0 && s.last().value % a.ints[0] == 0, "needs columns of ints[0] heads");
  return {dense({s[0], Dim(a.ints[0]), s[1], Dim(s.last().value / a.ints[0])}, in[0].dtype)};
}
std::vector<TensorSpec> infer_merge(std::span<const TensorSpec> in, const Attrs&) {
  const Shape& s = in[0].shape;
  require(is_real(in[0]) && s.rank == 4, "needs dense numbers [B, h, T, d]");
  require(!s[1].is_symbol() && !s[3].is_symbol(), "needs constant heads and head size");
  return {dense({s[0], s[2], Dim(s[1].value * s[3].value)}, in[0].dtype)};
}
std::vector<TensorSpec> infer_causal(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && in[0].shape.rank >= 2, "needs matrices of dense numbers");
  return {in[0]};
}
Cost cost_move(const OpInstance& op) { return streaming_cost(op, 0); }
/// Reads what is seen, writes all.
Cost cost_causal(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  const TensorView& x = op.in[0];
  const auto n = static_cast<double>(x.dim[x.rank - 2]), m = static_cast<double>(x.dim[x.rank - 1]);
  const double seen = n <= m ? n * (m - n) + n * (n + 1) / 2 : m * (m + 1) / 2;
  double matrices = 1;
  for (int a = 0; a + 2 < x.rank; ++a) matrices *= static_cast<double>(x.dim[a]);
  c.flops = 4 * matrices * seen;
  if (n * m > 0) c.read[0] = Bytes{static_cast<u64>(static_cast<double>(c.read[0].count) * (seen / (n * m)))};
  return c;
}

void grad_split(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(merge_heads, {c.of_out()}));
}
void grad_merge(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(split_heads, {c.of_out()}, with_int(c.spec(c.in(0)).shape[1].value)));
}
/// Where the softmax is zero, so is its gradient.
void grad_causal(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(softmax_grad, {c.out(), c.of_out()}));
}

constexpr auto kMove = OpClass::data_movement;

}  // namespace

const OpDef split_heads{"split_heads", kMove, 1, 1, infer_split, cost_move, no_scratch, {}, 0, false, grad_split};
const OpDef merge_heads{"merge_heads", kMove, 1, 1, infer_merge, cost_move, no_scratch, {}, 0, false, grad_merge};
const OpDef causal_softmax{"causal_softmax",
                           OpClass::normalisation,
                           1,
                           1,
                           infer_causal,
                           cost_causal,
                           no_scratch,
                           {},
                           0,
                           false,
                           grad_causal,
                           0b1};

}  // namespace terrace::ops
