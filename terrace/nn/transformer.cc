#include "terrace/nn/transformer.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {

Transformer::Transformer(GraphBuilder& builder, const TransformerConfig& config)
    : b_(builder), c_(config), layers_(builder, config.dtype, config.dropout) {
  if (c_.heads < 1 || c_.width % c_.heads != 0)
    throw Error(ErrorKind::usage, fmt::format("{} heads do not divide a width of {}", c_.heads, c_.width), "heads");
  if (c_.precision != DType::f32 &&
      (c_.precision != DType::bf16 || c_.dtype != DType::f32 || c_.biases || c_.attention != AttentionKind::flash))
    throw Error(ErrorKind::usage, "trains in f32, or in bf16 over f32 with flash attention and no biases", "precision");
}

void Transformer::declare_blocks(double deviation) {
  const i64 d = c_.width, ffn = 4 * d;
  const double residual = deviation / std::sqrt(2 * static_cast<double>(c_.layers));
  for (i64 i = 0; i < c_.layers; ++i) {
    const std::string p = fmt::format("h.{}.", i);
    Block& x = blocks_.emplace_back();
    x.norm1 = layers_.norm(p + "ln_1", d);
    x.q = layers_.linear(p + "attn.q", d, d, deviation, c_.biases);
    x.k = layers_.linear(p + "attn.k", d, d, deviation, c_.biases);
    x.v = layers_.linear(p + "attn.v", d, d, deviation, c_.biases);
    x.out = layers_.linear(p + "attn.out", d, d, residual, c_.biases);
    x.norm2 = layers_.norm(p + "ln_2", d);
    x.up = layers_.linear(p + "mlp.up", d, ffn, deviation, c_.biases);
    x.down = layers_.linear(p + "mlp.down", ffn, d, residual, c_.biases);
  }
}

ValueId Transformer::blocks(ValueId x, ValueId step, const Attend& attend) {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& p = blocks_[i];
    const std::string name = fmt::format("h.{}.", i);
    const ValueId h = layers_.apply(p.norm1, x, name + "ln_1");
    // One after the other: the order of nodes, and so of sums, must not be the compiler's.
    const ValueId q = layers_.apply(p.q, h, name + "q"), k = layers_.apply(p.k, h, name + "k"),
                  v = layers_.apply(p.v, h, name + "v");
    const ValueId attended = attend(q, k, v, name);
    x = b_.call(ops::add, {x, layers_.drop(layers_.apply(p.out, attended, name + "attn_out", true), step)});
    const ValueId f = b_.call(ops::gelu, {layers_.apply(p.up, layers_.apply(p.norm2, x, name + "ln_2"), name + "up")});
    x = b_.call(ops::add, {x, layers_.drop(layers_.apply(p.down, f, name + "down", true), step)});
  }
  return x;
}

Transformer::Attend Transformer::attention(bool causal, ValueId step) {
  return [this, causal, step](ValueId q, ValueId k, ValueId v, const std::string& name) {
    return layers_.attention(q, k, v, c_.heads, causal, c_.attention, step, name + "attention");
  };
}

}  // namespace terrace::nn
