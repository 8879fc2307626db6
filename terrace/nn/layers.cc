#include "terrace/nn/layers.h"

#include <cmath>

#include "terrace/ops/ops.h"
#include "terrace/ops/standard_attention.h"

namespace terrace::nn {

ValueId Layers::parameter(const std::string& name, Shape shape, double deviation, double constant) {
  const bool decays = shape.rank > 1;
  const ValueId v = b_.state(name, {dtype_, Layout::dense, shape});
  parameters_.push_back({name, v, deviation, constant, decays});
  return v;
}

Linear Layers::linear(const std::string& name, i64 inputs, i64 outputs, double deviation, bool bias) {
  Linear l;
  l.weight = parameter(name, {Dim(outputs), Dim(inputs)}, deviation);
  if (bias) l.bias = parameter(name + ".bias", {Dim(outputs)}, 0, 0);
  return l;
}

Norm Layers::norm(const std::string& name, i64 width, double eps) {
  Norm n;
  n.weight = parameter(name + ".weight", {Dim(width)}, 0, 1);
  n.bias = parameter(name + ".bias", {Dim(width)}, 0, 0);
  n.eps = eps;
  return n;
}

ValueId Layers::apply(const Linear& l, ValueId x, const std::string& name, bool last) {
  Attrs a;
  a.ints = {0, 1, 1, rounds_ && last ? 1 : 0};
  const ValueId y = b_.call(ops::matmul, {x, l.weight}, a, name);
  return l.bias == kNone ? y : b_.call(ops::add_row, {y, l.bias}, {}, name + ".biased");
}

ValueId Layers::apply(const Norm& n, ValueId x, const std::string& name) {
  Attrs a;
  a.floats[0] = n.eps;
  a.ints[0] = rounds_ ? 2 : 0;
  return b_.call(ops::layer_norm, {x, n.weight, n.bias}, a, name);
}

ValueId Layers::drop(ValueId x, ValueId step) {
  if (dropout_ == 0 || step == kNone) return x;
  Attrs a;
  a.ints[0] = ++drops_;
  a.floats[0] = dropout_;
  return b_.call(ops::dropout, {x, step}, a);
}

ValueId Layers::attention(ValueId q, ValueId k, ValueId v, i64 heads, bool causal, AttentionKind kind, ValueId step,
                          const std::string& name) {
  const double scale = 1 / std::sqrt(static_cast<double>(b_.spec(q).shape.last().value / heads));
  Attrs a;
  a.floats[0] = scale;
  if (kind == AttentionKind::flash) {
    a.ints = {heads, heads, causal, 0};
    return b_.apply(ops::flash_attention, {q, k, v}, a, name)[0];
  }
  a.ints[0] = heads;
  // Queries are scaled rather than scores, which are longer by far.
  const ValueId scaled = b_.call(ops::scale, {q}, a);
  const ValueId by_head[] = {b_.call(ops::split_heads, {scaled}, a), b_.call(ops::split_heads, {k}, a),
                             b_.call(ops::split_heads, {v}, a)};
  Attrs turned;
  turned.ints[1] = 1;
  const ValueId scores = b_.call(ops::matmul, {by_head[0], by_head[1]}, turned, name + ".scores");
  const ValueId weights = b_.call(causal ? ops::causal_softmax : ops::softmax, {scores}, {}, name + ".weights");
  return b_.call(ops::merge_heads, {b_.call(ops::matmul, {drop(weights, step), by_head[2]})}, {}, name);
}

}  // namespace terrace::nn
