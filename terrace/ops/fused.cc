#include "terrace/ops/fused.h"

#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

template <const OpDef& norm>
std::vector<TensorSpec> infer_add_norm(std::span<const TensorSpec> in, const Attrs& a) {
  const TensorSpec sum = add.infer(in.first(2), {})[0];
  std::vector<TensorSpec> of_norm = {sum};
  of_norm.insert(of_norm.end(), in.begin() + 2, in.end());
  return {sum, norm.infer(of_norm, a)[0], norm_stats.infer({&sum, 1}, a)[0]};
}
std::vector<TensorSpec> infer_norm_grad_add(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[4] == in[0], "adds to a tensor like x");
  return norm_grad.infer(in.first(4), a);
}
std::vector<TensorSpec> infer_bias_activation(std::span<const TensorSpec> in, const Attrs& a) {
  require(a.ints[0] >= 0 && a.ints[0] <= static_cast<i64>(Activation::silu), "ints[0] names no activation");
  return add_row.infer(in, {});
}
std::vector<TensorSpec> infer_bias_activation_grad(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[2] == in[0], "needs dy like x");
  return infer_bias_activation(in.first(2), a);
}

double elements_of(const TensorView& v) {
  double n = 1;
  for (int a = 0; a < v.rank; ++a) n *= static_cast<double>(v.dim[a]);
  return n;
}
template <int flops>
Cost cost(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = flops * elements_of(op.in[0]);
  return c;
}
/// As the activations of elementwise.cc count, and one for the bias.
template <int relu_flops, int gelu_flops, int silu_flops>
Cost cost_activation(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  const int flops[] = {relu_flops, gelu_flops, silu_flops};
  c.flops = (1 + flops[op.attrs.ints[0]]) * elements_of(op.in[0]);
  return c;
}

template <bool centred>
void grad_add_norm(GradContext& c) {
  ValueId d = c.of_out(0);
  if (c.of_out(1) != kNone) {
    Attrs a;
    a.ints[0] = centred;
    const ValueId dy = c.of_out(1);
    if (c.wants(2)) c.give(2, c.call(norm_grad_weight, {c.out(0), c.out(2), dy}));
    if (centred && c.wants(3)) c.give(3, c.call(sum_rows, {dy}));
    std::vector<ValueId> in = {c.out(0), c.in(2), c.out(2), dy};
    if (d != kNone) in.push_back(d);
    if (c.wants(0) || c.wants(1)) d = c.call(in.size() == 5 ? norm_grad_add : norm_grad, in, a);
  }
  for (int i : {0, 1})
    if (c.wants(i)) c.give(i, d);
}
void grad_bias_activation(GradContext& c) {
  const ValueId d = c.call(bias_activation_grad, {c.in(0), c.in(1), c.of_out()}, c.attrs());
  if (c.wants(0)) c.give(0, d);
  if (c.wants(1)) c.give(1, c.call(sum_rows, {d}));
}

constexpr auto kClass = OpClass::normalisation;

}  // namespace

const OpDef add_layer_norm{"add_layer_norm",
                           kClass,
                           4,
                           3,
                           infer_add_norm<layer_norm>,
                           cost<13>,
                           no_scratch,
                           {parallel_axis("n", {0, 0, -1, -1, 0, 0, 0})},
                           0,
                           false,
                           grad_add_norm<true>,
                           0b11};
const OpDef add_rms_norm{"add_rms_norm",
                         kClass,
                         3,
                         3,
                         infer_add_norm<rms_norm>,
                         cost<8>,
                         no_scratch,
                         {parallel_axis("n", {0, 0, -1, 0, 0, 0})},
                         0,
                         false,
                         grad_add_norm<false>,
                         0b11};
const OpDef norm_grad_add{"norm_grad_add",
                          kClass,
                          5,
                          1,
                          infer_norm_grad_add,
                          cost<10>,
                          no_scratch,
                          {parallel_axis("n", {0, -1, 0, 0, 0, 0})},
                          0,
                          false,
                          nullptr,
                          0b1001};
const OpDef bias_activation{"bias_activation",
                            OpClass::elementwise,
                            2,
                            1,
                            infer_bias_activation,
                            cost_activation<1, 8, 3>,
                            no_scratch,
                            {parallel_axis("n", {0, -1, 0})},
                            0,
                            false,
                            grad_bias_activation,
                            0b1};
const OpDef bias_activation_grad{"bias_activation_grad",
                                 OpClass::elementwise,
                                 3,
                                 1,
                                 infer_bias_activation_grad,
                                 cost_activation<1, 16, 8>,
                                 no_scratch,
                                 {parallel_axis("n", {0, -1, 0, 0})},
                                 0,
                                 false,
                                 nullptr,
                                 0b1};

}  // namespace terrace::ops
