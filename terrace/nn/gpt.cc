#include "terrace/nn/gpt.h"

#include <cmath>

#include "terrace/ops/ops.h"

namespace terrace::nn {

Gpt::Gpt(GraphBuilder& builder, const GptConfig& config) : b_(builder), c_(config), t_(builder, config) {
  const Dim d(c_.width);
  const double deviation = 0.02;
  table_ = t_.layers().parameter("wte", {Dim(c_.vocabulary), d}, deviation);
  places_ = t_.layers().parameter("wpe", {Dim(c_.context), d}, deviation);
  t_.declare_blocks(deviation);
  last_norm_ = t_.layers().norm("ln_f", c_.width);
}

ValueId Gpt::embed(ValueId ids, ValueId places) {
  return b_.call(ops::add, {b_.call(ops::take_rows, {table_, ids}), b_.call(ops::take_rows, {places_, places})});
}

ValueId Gpt::output(ValueId x) {
  return t_.layers().apply(Linear{table_, kNone}, t_.layers().apply(last_norm_, x, "ln_f"), "logits", true);
}

ValueId Gpt::hidden(ValueId ids, ValueId step) {
  t_.layers().round(c_.precision == DType::bf16);
  const ValueId x = t_.layers().drop(embed(ids, b_.call(ops::positions, {ids})), step);
  return t_.blocks(x, step, t_.attention(true, step));
}

ValueId Gpt::logits(ValueId ids, ValueId step) { return output(hidden(ids, step)); }

ValueId Gpt::loss(ValueId ids, ValueId targets, ValueId step, bool trains) {
  const ValueId x = t_.layers().apply(last_norm_, hidden(ids, step), "ln_f");
  return linear_cross_entropy(b_, x, table_, targets, {trains, trains});
}

ValueId Gpt::next(ValueId ids, SymbolId pos) {
  t_.layers().round(false);
  Attrs at;
  at.symbols[0] = pos;
  const TensorSpec cache{c_.dtype, Layout::dense, {Dim(c_.context), Dim(c_.width)}};
  const ValueId x = embed(ids, b_.call(ops::positions, {ids}, at));
  const ValueId all = t_.blocks(x, kNone, [&](ValueId q, ValueId k, ValueId v, const std::string& name) {
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
