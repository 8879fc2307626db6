#include "terrace/nn/gpt.h"

#include "terrace/ops/ops.h"

namespace terrace::nn {

Gpt::Gpt(GraphBuilder& builder, const GptConfig& config) : b_(builder), c_(config), t_(builder, config) {
  const Dim d(c_.width);
  const double deviation = 0.02;
  table_ = t_.declare("wte", {Dim(c_.vocabulary), d}, deviation);
  places_ = t_.declare("wpe", {Dim(c_.context), d}, deviation);
  t_.declare_blocks(deviation, false);
  last_norm_ = t_.declare_norm("ln_f");
}

ValueId Gpt::embed(ValueId ids, ValueId places) {
  return b_.call(ops::add, {b_.call(ops::take_rows, {table_, ids}), b_.call(ops::take_rows, {places_, places})});
}

ValueId Gpt::output(ValueId x) { return t_.product(t_.norm(x, last_norm_, "ln_f"), {table_}, "logits"); }

ValueId Gpt::logits(ValueId ids, ValueId step) {
  const ValueId x = t_.drop(embed(ids, b_.call(ops::positions, {ids})), step);
  return output(t_.blocks(x, step, t_.attention(true)));
}

ValueId Gpt::next(ValueId ids, SymbolId pos) {
  Attrs at;
  at.symbols[0] = pos;
  const TensorSpec cache{c_.dtype, Layout::dense, {Dim(c_.context), Dim(c_.width)}};
  const ValueId x = embed(ids, b_.call(ops::positions, {ids}, at));
  const ValueId all = t_.blocks(x, kNone, [&](ValueId q, ValueId k, ValueId v, const std::string& name) {
    const ValueId keys = b_.call(ops::append_rows, {b_.state(name + "k_cache", cache), k}, at);
    const ValueId values = b_.call(ops::append_rows, {b_.state(name + "v_cache", cache), v}, at);
    Attrs a = t_.heads(true);
    a.symbols[0] = pos;
    return b_.call(ops::attention, {q, keys, values}, a, name + "attention");
  });
  return output(b_.call(ops::last_rows, {all}));
}

ValueId mean_cross_entropy(GraphBuilder& b, ValueId logits, ValueId targets) {
  return b.call(ops::mean, {b.apply(ops::cross_entropy, {logits, targets}, {}, "loss_by_token")[0]}, {}, "loss");
}

}  // namespace terrace::nn
