#include "terrace/nn/bert.h"

#include <fmt/format.h>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {

Bert::Bert(GraphBuilder& builder, const BertConfig& config)
    : b_(builder), c_(config), layers_(builder, config.dtype, config.dropout) {
  if (c_.heads < 1 || c_.width % c_.heads != 0)
    throw Error(ErrorKind::usage, fmt::format("{} heads do not divide a width of {}", c_.heads, c_.width), "heads");
  const double small = 0.02, eps = 1e-12;
  const i64 d = c_.width;
  table_ = layers_.parameter("embeddings.word", {Dim(c_.vocabulary), Dim(d)}, small);
  places_ = layers_.parameter("embeddings.position", {Dim(c_.context), Dim(d)}, small);
  embedding_norm_ = layers_.norm("embeddings.norm", d, eps);
  for (i64 i = 0; i < c_.layers; ++i) {
    const std::string p = fmt::format("layer.{}.", i);
    Block& x = blocks_.emplace_back();
    x.q = layers_.linear(p + "query", d, d, small, true);
    x.k = layers_.linear(p + "key", d, d, small, true);
    x.v = layers_.linear(p + "value", d, d, small, true);
    x.out = layers_.linear(p + "out", d, d, small, true);
    x.norm1 = layers_.norm(p + "norm_1", d, eps);
    x.up = layers_.linear(p + "up", d, c_.ffn, small, true);
    x.down = layers_.linear(p + "down", c_.ffn, d, small, true);
    x.norm2 = layers_.norm(p + "norm_2", d, eps);
  }
  head_ = layers_.linear("head", d, d, small, true);
  head_norm_ = layers_.norm("head.norm", d, eps);
}

/// What the output matrix is given.
ValueId Bert::hidden(ValueId ids, ValueId step) {
  const ValueId places = b_.call(ops::take_rows, {places_, b_.call(ops::positions, {ids})});
  ValueId x = b_.call(ops::add, {b_.call(ops::take_rows, {table_, ids}), places});
  x = layers_.drop(layers_.apply(embedding_norm_, x, "embedding"), step);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& p = blocks_[i];
    const std::string name = fmt::format("layer.{}.", i);
    // One after the other: the order of nodes, and so of sums, must not be the compiler's.
    const ValueId q = layers_.apply(p.q, x, name + "q"), k = layers_.apply(p.k, x, name + "k"),
                  v = layers_.apply(p.v, x, name + "v");
    const ValueId attended = layers_.attention(q, k, v, c_.heads, false, c_.attention, step, name + "attention");
    const ValueId out = layers_.drop(layers_.apply(p.out, attended, name + "attn_out"), step);
    x = layers_.apply(p.norm1, b_.call(ops::add, {x, out}), name + "norm_1");
    const ValueId f = b_.call(ops::gelu, {layers_.apply(p.up, x, name + "up")});
    const ValueId down = layers_.drop(layers_.apply(p.down, f, name + "down"), step);
    x = layers_.apply(p.norm2, b_.call(ops::add, {x, down}), name + "norm_2");
  }
  return layers_.apply(head_norm_, b_.call(ops::gelu, {layers_.apply(head_, x, "head")}), "head.norm");
}

ValueId Bert::logits(ValueId ids, ValueId step) {
  return layers_.apply(Linear{table_, kNone}, hidden(ids, step), "logits");
}

ValueId Bert::loss(ValueId ids, ValueId targets, ValueId step, bool trains) {
  return linear_cross_entropy(b_, hidden(ids, step), table_, targets, {trains, trains});
}

}  // namespace terrace::nn
