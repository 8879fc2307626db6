#include "terrace/nn/transformer.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {

Transformer::Transformer(GraphBuilder& builder, const TransformerConfig& config) : b_(builder), c_(config) {
  if (c_.heads < 1 || c_.width % c_.heads != 0)
    throw Error(ErrorKind::usage, fmt::format("{} heads do not divide a width of {}", c_.heads, c_.width), "heads");
}

ValueId Transformer::declare(const std::string& name, Shape shape, double deviation, double constant) {
  const bool decays = shape.rank > 1;
  const ValueId v = b_.state(name, {c_.dtype, Layout::dense, shape});
  parameters_.push_back({name, v, deviation, constant, decays});
  return v;
}

Transformer::Norm Transformer::declare_norm(const std::string& name) {
  Norm n;
  n.weight = declare(name + ".weight", {Dim(c_.width)}, 0, 1);
  n.bias = declare(name + ".bias", {Dim(c_.width)}, 0, 0);
  return n;
}

Transformer::Product Transformer::declare_product(const std::string& name, i64 rows, i64 columns, double deviation,
                                                  bool bias) {
  Product p;
  p.weight = declare(name, {Dim(rows), Dim(columns)}, deviation);
  if (bias) p.bias = declare(name + ".bias", {Dim(rows)}, 0, 0);
  return p;
}

void Transformer::declare_blocks(double deviation, bool biases) {
  const i64 d = c_.width, ffn = 4 * d;
  const double residual = deviation / std::sqrt(2 * static_cast<double>(c_.layers));
  for (i64 i = 0; i < c_.layers; ++i) {
    const std::string p = fmt::format("h.{}.", i);
    Block& x = blocks_.emplace_back();
    x.norm1 = declare_norm(p + "ln_1");
    x.q = declare_product(p + "attn.q", d, d, deviation, biases);
    x.k = declare_product(p + "attn.k", d, d, deviation, biases);
    x.v = declare_product(p + "attn.v", d, d, deviation, biases);
    x.out = declare_product(p + "attn.out", d, d, residual, biases);
    x.norm2 = declare_norm(p + "ln_2");
    x.up = declare_product(p + "mlp.up", ffn, d, deviation, biases);
    x.down = declare_product(p + "mlp.down", d, ffn, residual, biases);
  }
}

ValueId Transformer::norm(ValueId x, const Norm& w, const std::string& name) {
  Attrs a;
  a.floats[0] = 1e-5;
  return b_.call(ops::layer_norm, {x, w.weight, w.bias}, a, name);
}

ValueId Transformer::product(ValueId x, const Product& w, const std::string& name) {
  Attrs a;
  a.ints = {0, 1, 1, 0};
  const ValueId y = b_.call(ops::matmul, {x, w.weight}, a, name);
  return w.bias == kNone ? y : b_.call(ops::add_row, {y, w.bias}, {}, name + "+bias");
}

ValueId Transformer::drop(ValueId x, ValueId step) {
  if (c_.dropout == 0 || step == kNone) return x;
  Attrs a;
  a.ints[0] = ++drops_;
  a.floats[0] = c_.dropout;
  return b_.call(ops::dropout, {x, step}, a);
}

Attrs Transformer::heads(bool causal) const {
  Attrs a;
  a.ints = {c_.heads, c_.heads, causal ? 1 : 0, 0};
  a.floats[0] = 1 / std::sqrt(static_cast<double>(c_.width / c_.heads));
  return a;
}

Transformer::Attend Transformer::attention(bool causal) {
  return [this, causal](ValueId q, ValueId k, ValueId v, const std::string& name) {
    return b_.apply(ops::flash_attention, {q, k, v}, heads(causal), name + "attention")[0];
  };
}

ValueId Transformer::blocks(ValueId x, ValueId step, const Attend& attend) {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& p = blocks_[i];
    const std::string name = fmt::format("h.{}.", i);
    const ValueId h = norm(x, p.norm1, name + "ln_1");
    // One after the other: the order of nodes, and so of sums, must not be the compiler's.
    const ValueId q = product(h, p.q, name + "q"), k = product(h, p.k, name + "k"), v = product(h, p.v, name + "v");
    const ValueId attended = attend(q, k, v, name);
    x = b_.call(ops::add, {x, drop(product(attended, p.out, name + "attn_out"), step)});
    const ValueId f = b_.call(ops::gelu, {product(norm(x, p.norm2, name + "ln_2"), p.up, name + "up")});
    x = b_.call(ops::add, {x, drop(product(f, p.down, name + "down"), step)});
  }
  return x;
}

}  // namespace terrace::nn
