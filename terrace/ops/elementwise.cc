// One result from each position: arithmetic, activations and their gradients.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

std::vector<TensorSpec> infer_binary(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && in[0].dtype == in[1].dtype && is_real(in[1]), "needs dense numbers of one type");
  require(in[0].shape == in[1].shape, "needs two tensors of one shape");
  return {in[0]};
}
std::vector<TensorSpec> infer_unary(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]), "needs dense numbers");
  return {in[0]};
}
std::vector<TensorSpec> infer_spread(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && in[1] == dense({Dim(1)}, wide(in[0].dtype)), "spreads one number");
  return {in[0]};
}
template <int flops>
Cost cost(const OpInstance& op) {
  return streaming_cost(op, flops);
}
/// The first input gives a shape only.
Cost cost_like(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[0] = Bytes{};
  return c;
}

constexpr Axis kRows1 = parallel_axis("n", {0, 0}), kColumns1 = parallel_axis("k", {1, 1});
constexpr Axis kRows2 = parallel_axis("n", {0, 0, 0}), kColumns2 = parallel_axis("k", {1, 1, 1});

void grad_add(GradContext& c) {
  for (int i : {0, 1})
    if (c.wants(i)) c.give(i, c.of_out());
}
void grad_sub(GradContext& c) {
  if (c.wants(0)) c.give(0, c.of_out());
  if (c.wants(1)) c.give(1, c.call(scale, {c.of_out()}, with_float(-1)));
}
void grad_mul(GradContext& c) {
  for (int i : {0, 1})
    if (c.wants(i)) c.give(i, c.call(mul, {c.of_out(), c.in(1 - i)}));
}
void grad_div(GradContext& c) {
  const ValueId over = c.call(div, {c.of_out(), c.in(1)});
  if (c.wants(0)) c.give(0, over);
  if (c.wants(1)) c.give(1, c.call(scale, {c.call(mul, {over, c.out()})}, with_float(-1)));
}
void grad_scale(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(scale, {c.of_out()}, c.attrs()));
}
void grad_silu_mul(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(silu_grad, {c.in(0), c.call(mul, {c.of_out(), c.in(1)})}));
  if (c.wants(1)) c.give(1, c.call(mul, {c.of_out(), c.call(silu, {c.in(0)})}));
}
template <const OpDef& derivative>
void grad_unary(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(derivative, {c.in(0), c.of_out()}));
}
void grad_fill(GradContext&) {}  // a constant
void grad_spread(GradContext& c) {
  if (!c.wants(1)) return;
  const double n = elements(c.spec(c.out()));
  c.give(1, c.call(scale, {c.call(mean, {c.of_out()})}, with_float(n * c.attrs().floats[0])));
}

template <int flops>
constexpr OpDef binary(std::string_view name, void (*grad)(GradContext&)) {
  return {name,       OpClass::elementwise, 2, 1,     infer_binary, cost<flops>,
          no_scratch, {kRows2, kColumns2},  0, false, grad,         0b11};
}
template <int flops>
constexpr OpDef unary(std::string_view name, void (*grad)(GradContext&)) {
  return {name,       OpClass::elementwise, 1, 1,     infer_unary, cost<flops>,
          no_scratch, {kRows1, kColumns1},  0, false, grad,        0b1};
}

}  // namespace

const OpDef add = binary<1>("add", grad_add);
const OpDef sub = binary<1>("sub", grad_sub);
const OpDef mul = binary<1>("mul", grad_mul);
const OpDef div = binary<1>("div", grad_div);
const OpDef scale = unary<1>("scale", grad_scale);
// exp, add, divide: counted as one each.
const OpDef silu = unary<3>("silu", grad_unary<silu_grad>);
const OpDef silu_mul = binary<4>("silu_mul", grad_silu_mul);
const OpDef relu = unary<1>("relu", grad_unary<relu_grad>);
// Five for the argument, then exp, add, divide.
const OpDef gelu = unary<8>("gelu", grad_unary<gelu_grad>);
const OpDef relu_grad = binary<1>("relu_grad", nullptr);
const OpDef gelu_grad = binary<16>("gelu_grad", nullptr);
const OpDef silu_grad = binary<8>("silu_grad", nullptr);
const OpDef fill{"fill",     OpClass::elementwise, 1, 1,     infer_unary, cost_like,
                 no_scratch, {kRows1, kColumns1},  0, false, grad_fill,   0b1};
const OpDef spread{
    "spread", OpClass::elementwise, 2,  1, infer_spread, cost_like, no_scratch, {parallel_axis("n", {0, -1, 0})}, 0,
    false,    grad_spread,          0b1};

}  // namespace terrace::ops
