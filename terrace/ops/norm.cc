// softmax, rms_norm, layer_norm and their gradients: a row at a time.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

bool is_vector_of(const TensorSpec& w, const TensorSpec& x) {
  return is_real(w) && w.dtype == x.dtype && w.shape.rank == 1 && w.shape.last() == x.shape.last();
}
/// Of a norm's result, which may be bf16 where x is f32.
bool is_gradient_of(const TensorSpec& dy, const TensorSpec& x) {
  return dy == x || (x.dtype == DType::f32 && dy == dense(x.shape, DType::bf16));
}
/// [.., 2] for x [.., k].
TensorSpec stats_of(const TensorSpec& x) {
  TensorSpec s = dense(x.shape, wide(x.dtype));
  s.shape[s.shape.rank - 1] = Dim(2);
  return s;
}

template <int vectors>
std::vector<TensorSpec> infer_norm(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]), "needs dense numbers");
  for (int i = 1; i <= vectors; ++i)
    require(is_vector_of(in[static_cast<std::size_t>(i)], in[0]), "needs one weight a column, of the type of x");
  require(a.floats[0] >= 0, "floats[0] (eps) must not be negative");
  return {dense(in[0].shape, chosen_type(a.ints[0], in[0].dtype))};
}
std::vector<TensorSpec> infer_softmax(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]), "needs dense numbers");
  return {in[0]};
}
std::vector<TensorSpec> infer_softmax_grad(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && in[0] == in[1], "needs two tensors of one shape and type");
  return {in[0]};
}
std::vector<TensorSpec> infer_stats(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]), "needs dense numbers");
  require(a.floats[0] >= 0, "floats[0] (eps) must not be negative");
  return {stats_of(in[0])};
}
std::vector<TensorSpec> infer_norm_grad(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && is_vector_of(in[1], in[0]) && is_gradient_of(in[3], in[0]),
          "needs x, its weight, and dy like x");
  require(in[2] == stats_of(in[0]), "needs the statistics of x");
  return {in[0]};
}
std::vector<TensorSpec> infer_norm_grad_weight(std::span<const TensorSpec> in, const Attrs&) {
  require(is_real(in[0]) && is_gradient_of(in[2], in[0]), "needs x, and dy like x");
  require(in[1] == stats_of(in[0]), "needs the statistics of x");
  return {dense({in[0].shape.last()}, in[0].dtype)};
}
template <int flops>
Cost cost(const OpInstance& op) {
  return streaming_cost(op, flops);
}
/// Some operations an element of x, whatever the result's size.
template <int flops>
Cost cost_reduction(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  double n = 1;
  for (int a = 0; a < op.in[0].rank; ++a) n *= static_cast<double>(op.in[0].dim[a]);
  c.flops = flops * n;
  return c;
}

void grad_softmax(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(softmax_grad, {c.out(), c.of_out()}));
}
template <bool centered>
void grad_norm(GradContext& c) {
  Attrs a;
  a.ints[0] = centered;
  a.floats[0] = c.attrs().floats[0];
  const ValueId stats = c.call(norm_stats, {c.in(0)}, a);
  if (c.wants(1)) c.give(1, c.call(norm_grad_weight, {c.in(0), stats, c.of_out()}));
  if (centered && c.wants(2))
    c.give(2, c.call(sum_rows, {c.of_out()}, with_int(type_code(c.spec(c.in(2)).dtype, c.spec(c.of_out()).dtype))));
  if (c.wants(0)) c.give(0, c.call(norm_grad, {c.in(0), c.in(1), stats, c.of_out()}, a));  // may take its bytes over
}

}  // namespace

const OpDef rms_norm{"rms_norm",
                     OpClass::normalisation,
                     2,
                     1,
                     infer_norm<1>,
                     cost<4>,
                     no_scratch,
                     {parallel_axis("n", {0, -1, 0}), reduce_axis("k", {1, 0, 1}, 1)},
                     0,
                     false,
                     grad_norm<false>,
                     0b1};
const OpDef layer_norm{"layer_norm",
                       OpClass::normalisation,
                       3,
                       1,
                       infer_norm<2>,
                       cost<7>,
                       no_scratch,
                       {parallel_axis("n", {0, -1, -1, 0})},
                       0,
                       false,
                       grad_norm<true>,
                       0b1};
const OpDef softmax{"softmax",
                    OpClass::normalisation,
                    1,
                    1,
                    infer_softmax,
                    cost<4>,
                    no_scratch,
                    {parallel_axis("n", {0, 0}), reduce_axis("k", {1, 1}, 1)},
                    0,
                    false,
                    grad_softmax,
                    0b1};
const OpDef softmax_grad{"softmax_grad",
                         OpClass::normalisation,
                         2,
                         1,
                         infer_softmax_grad,
                         cost<4>,
                         no_scratch,
                         {parallel_axis("n", {0, 0, 0})},
                         0,
                         false,
                         nullptr,
                         0b11};
const OpDef norm_stats{"norm_stats", OpClass::normalisation, 1,          1,
                       infer_stats,  cost_reduction<5>,      no_scratch, {parallel_axis("n", {0, 0})}};
const OpDef norm_grad{"norm_grad",
                      OpClass::normalisation,
                      4,
                      1,
                      infer_norm_grad,
                      cost<9>,
                      no_scratch,
                      {parallel_axis("n", {0, -1, 0, 0, 0})},
                      0,
                      false,
                      nullptr,
                      0b1001};
const OpDef norm_grad_weight{"norm_grad_weight",     OpClass::normalisation, 3,         1,
                             infer_norm_grad_weight, cost_reduction<4>,      no_scratch};

}  // namespace terrace::ops
