#include "terrace/nn/gpt.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {

Gpt::Gpt(GraphBuilder& builder, const GptConfig& config)
    : b_(builder), c_(config), layers_(builder, config.dtype, config.dropout) {
  if (c_.heads < 1 || c_.width % c_.heads != 0)
    throw Error(ErrorKind::usage, fmt::format("{} heads do not divide a width of {}", c_.heads, c_.width), "heads");
  if (c_.precision != DType::f32 &&
      (c_.precision != DType::bf16 || c_.dtype != DType::f32 || c_.biases || c_.attention != AttentionKind::flash))
    throw Error(ErrorKind::usage, "trains in f32, or in bf16 over f32 with flash attention and no biases", "precision");
  const i64 d = c_.width, ffn = 4 * d;
  const double small = 0.02, residual = small / std::sqrt(2 * static_cast<double>(c_.layers));
  table_ = layers_.parameter("wte", {Dim(c_.vocabulary), Dim(d)}, small);
  places_ = layers_.parameter("wpe", {Dim(c_.context), Dim(d)}, small);
  for (i64 i = 0; i < c_.layers; ++i) {
    const std::string p = fmt::format("h.{}.", i);
    Block& x = blocks_.emplace_back();
    x.norm1 = layers_.norm(p + "ln_1", d);
    x.q = layers_.linear(p + "attn.q", d, d, small, c_.biases);
    x.k = layers_.linear(p + "attn.k", d, d, small, c_.biases);
    x.v = layers_.linear(p + "attn.v", d, d, small, c_.biases);
    x.out = layers_.linear(p + "attn.out", d, d, residual, c_.biases);
    x.norm2 = layers_.norm(p + "ln_2", d);
    x.up = layers_.linear(p + "mlp.up", d, ffn, small, c_.biases);
    x.down = layers_.linear(p + "mlp.down", ffn, d, residual, c_.biases);
  }
  last_norm_ = layers_.norm("ln_f", d);
}

ValueId Gpt::embed(ValueId ids, ValueId places) {
  return b_.call(ops::add, {b_.call(ops::take_rows, {table_, ids}), b_.call(ops::take_rows, {places_, places})});
}

ValueId Gpt::blocks(ValueId x, ValueId step, const Attend& attend) {
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

ValueId Gpt::output(ValueId x) {
  return layers_.apply(Linear{table_, kNone}, layers_.apply(last_norm_, x, "ln_f"), "logits", true);
}

ValueId Gpt::hidden(ValueId ids, ValueId step) {
  layers_.round(c_.precision == DType::bf16);
  const ValueId x = layers_.drop(embed(ids, b_.call(ops::positions, {ids})), step);
  return blocks(x, step, [&](ValueId q, ValueId k, ValueId v, const std::string& name) {
    return layers_.attention(q, k, v, c_.heads, true, c_.attention, step, name + "attention");
  });
}

ValueId Gpt::logits(ValueId ids, ValueId step) { return output(hidden(ids, step)); }

ValueId Gpt::loss(ValueId ids, ValueId targets, ValueId step, bool trains) {
  const ValueId x = layers_.apply(last_norm_, hidden(ids, step), "ln_f");
  return linear_cross_entropy(b_, x, table_, targets, {trains, trains});
}

ValueId Gpt::next(ValueId ids, SymbolId pos) {
  layers_.round(false);
  Attrs at;
  at.symbols[0] = pos;
  const TensorSpec cache{c_.dtype, Layout::dense, {Dim(c_.context), Dim(c_.width)}};
  const ValueId x = embed(ids, b_.call(ops::positions, {ids}, at));
  const ValueId all = blocks(x, kNone, [&](ValueId q, ValueId k, ValueId v, const std::string& name) {
    const ValueId keys = b_.call(ops::append_rows, {b_.state(name + "k_cache", cache), k}, at);
    const ValueId values = b_.call(ops::append_rows, {b_.state(name + "v_cache", cache), v}, at);
    Attrs a = at;
    a.ints = {c_.heads, c_.heads, 0, 0};
    a.floats[0] = 1 / std::sqrt(static_cast<double>(c_.width / c_.heads));
    return b_.call(ops::attention, {q, keys, values}, a, name + "attention");
  });
  return output(b_.call(ops::last_rows, {all}));
}

}  // namespace terrace::nn
