#include "terrace/nn/gpt.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {

ValueId Gpt::parameter(const std::string& name, Shape shape, double deviation, double constant) {
  const bool decays = shape.rank > 1;
  const ValueId v = b_.state(name, {c_.dtype, Layout::dense, shape});
  parameters_.push_back({name, v, deviation, constant, decays});
  return v;
}

Gpt::Gpt(GraphBuilder& builder, const GptConfig& config) : b_(builder), c_(config) {
  if (c_.heads < 1 || c_.width % c_.heads != 0)
    throw Error(ErrorKind::usage, fmt::format("{} heads do not divide a width of {}", c_.heads, c_.width), "heads");
  if (c_.precision != DType::f32 && (c_.precision != DType::bf16 || c_.dtype != DType::f32))
    throw Error(ErrorKind::usage, "trains in f32, or in bf16 over f32", "precision");
  const Dim d(c_.width), ffn(4 * c_.width);
  const double small = 0.02, residual = small / std::sqrt(2 * static_cast<double>(c_.layers));
  table_ = parameter("wte", {Dim(c_.vocabulary), d}, small);
  places_ = parameter("wpe", {Dim(c_.context), d}, small);
  const auto norm_of = [&](const std::string& name, ValueId(&w)[2]) {
    w[0] = parameter(name + ".weight", {d}, 0, 1);
    w[1] = parameter(name + ".bias", {d}, 0, 0);
  };
  for (i64 i = 0; i < c_.layers; ++i) {
    const std::string p = fmt::format("h.{}.", i);
    Block& x = blocks_.emplace_back();
    norm_of(p + "ln_1", x.norm1);
    x.q = parameter(p + "attn.q", {d, d}, small);
    x.k = parameter(p + "attn.k", {d, d}, small);
    x.v = parameter(p + "attn.v", {d, d}, small);
    x.out = parameter(p + "attn.out", {d, d}, residual);
    norm_of(p + "ln_2", x.norm2);
    x.up = parameter(p + "mlp.up", {ffn, d}, small);
    x.down = parameter(p + "mlp.down", {d, ffn}, residual);
  }
  norm_of("ln_f", last_norm_);
}

ValueId Gpt::product(ValueId x, ValueId w, const std::string& name, bool last) {
  Attrs a;
  a.ints = {0, 1, 1, rounds_ && last ? 1 : 0};
  return b_.call(ops::matmul, {x, w}, a, name);
}

ValueId Gpt::norm(ValueId x, const ValueId (&w)[2], const std::string& name) {
  Attrs a;
  a.floats[0] = 1e-5;
  a.ints[0] = rounds_ ? 2 : 0;
  return b_.call(ops::layer_norm, {x, w[0], w[1]}, a, name);
}

ValueId Gpt::drop(ValueId x, ValueId step) {
  if (c_.dropout == 0 || step == kNone) return x;
  Attrs a;
  a.ints[0] = ++drops_;
  a.floats[0] = c_.dropout;
  return b_.call(ops::dropout, {x, step}, a);
}

Attrs Gpt::heads() const {
  Attrs a;
  a.ints = {c_.heads, c_.heads, 1, 0};
  a.floats[0] = 1 / std::sqrt(static_cast<double>(c_.width / c_.heads));
  return a;
}

ValueId Gpt::embed(ValueId ids, ValueId places) {
  return b_.call(ops::add, {b_.call(ops::take_rows, {table_, ids}), b_.call(ops::take_rows, {places_, places})});
}

ValueId Gpt::blocks(ValueId x, ValueId step, const Attend& attend) {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& p = blocks_[i];
    const std::string name = fmt::format("h.{}.", i);
    const ValueId h = norm(x, p.norm1, name + "ln_1");
    // One after the other: the order of nodes, and so of sums, must not be the compiler's.
    const ValueId q = product(h, p.q, name + "q"), k = product(h, p.k, name + "k"), v = product(h, p.v, name + "v");
    const ValueId attended = attend(q, k, v, name);
    x = b_.call(ops::add, {x, drop(product(attended, p.out, name + "attn_out", true), step)});
    const ValueId f = b_.call(ops::gelu, {product(norm(x, p.norm2, name + "ln_2"), p.up, name + "up")});
    x = b_.call(ops::add, {x, drop(product(f, p.down, name + "down", true), step)});
  }
  return x;
}

ValueId Gpt::output(ValueId x) { return product(norm(x, last_norm_, "ln_f"), table_, "logits", true); }

ValueId Gpt::hidden(ValueId ids, ValueId step) {
  rounds_ = c_.precision == DType::bf16;
  const ValueId x = drop(embed(ids, b_.call(ops::positions, {ids})), step);
  return blocks(x, step, [&](ValueId q, ValueId k, ValueId v, const std::string& name) {
    return b_.apply(ops::flash_attention, {q, k, v}, heads(), name + "attention")[0];
  });
}

ValueId Gpt::logits(ValueId ids, ValueId step) { return output(hidden(ids, step)); }

ValueId Gpt::loss(ValueId ids, ValueId targets, ValueId step, bool trains) {
  const ValueId x = norm(hidden(ids, step), last_norm_, "ln_f");
  return linear_cross_entropy(b_, x, table_, targets, {trains, trains});
}

ValueId Gpt::next(ValueId ids, SymbolId pos) {
  rounds_ = false;
  Attrs at;
  at.symbols[0] = pos;
  const TensorSpec cache{c_.dtype, Layout::dense, {Dim(c_.context), Dim(c_.width)}};
  const ValueId x = embed(ids, b_.call(ops::positions, {ids}, at));
  const ValueId all = blocks(x, kNone, [&](ValueId q, ValueId k, ValueId v, const std::string& name) {
    const ValueId keys = b_.call(ops::append_rows, {b_.state(name + "k_cache", cache), k}, at);
    const ValueId values = b_.call(ops::append_rows, {b_.state(name + "v_cache", cache), v}, at);
    Attrs a = heads();
    a.symbols[0] = pos;
    return b_.call(ops::attention, {q, keys, values}, a, name + "attention");
  });
  return output(b_.call(ops::last_rows, {all}));
}

}  // namespace terrace::nn
