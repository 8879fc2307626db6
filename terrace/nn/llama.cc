#include "terrace/nn/llama.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {
namespace {

class Builder {
 public:
  Builder(const LlamaConfig& c, const LlamaOptions& o, const SpecOf& spec_of)
      : c_(c), o_(o), spec_of_(spec_of), n_(g_.symbol("n", o.max_tokens)), pos_(g_.symbol("pos", o.context - 1)) {}

  Graph build() {
    const ValueId ids = g_.input("ids", {DType::i32, Layout::dense, {Dim::of(n_)}});
    const ValueId table = matrix("token_embd.weight", c_.vocabulary, c_.width);
    ValueId x =
        g_.call(ops::dequantize, {g_.call(ops::take_rows, {table, ids}, {}, "embedding_rows")}, {}, "embedding");
    Attrs angles;
    angles.ints[0] = c_.rope_dims;
    angles.floats[0] = c_.rope_base;
    angles.symbols[0] = pos_;
    angles_ = g_.call(ops::rope_angles, {x}, angles, "rope_angles");
    for (i64 i = 0; i < c_.layers; ++i) x = block(x, fmt::format("blk.{}.", i));
    if (o_.logits == Logits::last) x = g_.call(ops::last_rows, {x}, {}, "last");
    const ValueId normed = norm(x, "output_norm.weight", "output_norm");
    const ValueId output = spec_of_("output.weight") ? matrix("output.weight", c_.vocabulary, c_.width) : table;
    g_.output(linear(prepare(normed, output), output, "logits"));
    return g_.finish();
  }

 private:
  ValueId weight(const std::string& name, const Shape& want) {
    return g_.weight(name, checked_spec(spec_of_, name, want));
  }
  ValueId matrix(const std::string& name, i64 rows, i64 columns) { return weight(name, {Dim(rows), Dim(columns)}); }

  ValueId norm(ValueId x, const std::string& weight_name, const std::string& name) {
    Attrs a;
    a.floats[0] = c_.norm_eps;
    const ValueId w = weight(weight_name, {Dim(c_.width)});
    if (g_.spec(w).dtype != DType::f32) throw Error(ErrorKind::bad_file, "norm weights must be F32", weight_name);
    return g_.call(ops::rms_norm, {x, w}, a, name);
  }

  /// Activations as a matrix in this layout is multiplied with: in 8-bit blocks, or as they are.
  ValueId prepare(ValueId x, ValueId w) {
    if (!o_.quantize_activations || g_.spec(w).layout == Layout::dense) return x;
    if (quantized_of_ != x) {
      quantized_ = g_.call(ops::quantize, {x});
      quantized_of_ = x;
    }
    return quantized_;
  }
  ValueId linear(ValueId x, ValueId w, const std::string& name) { return g_.call(ops::linear, {x, w}, {}, name); }
  /// x times the named matrix [rows, columns] transposed.
  ValueId project(ValueId x, const std::string& weight_name, i64 rows, i64 columns, const std::string& name) {
    const ValueId w = matrix(weight_name, rows, columns);
    return linear(prepare(x, w), w, name);
  }

  ValueId rope(ValueId x, const std::string& name) {
    Attrs a;
    a.ints[0] = c_.head_dim;
    return g_.call(ops::rope, {x, angles_}, a, name);
  }
  ValueId cached(ValueId rows, const std::string& name) {
    const i64 width = c_.kv_heads * c_.head_dim;
    const ValueId cache = g_.state(name, {o_.kv_dtype, o_.kv_layout, {Dim(o_.context), Dim(width)}});
    Attrs a;
    a.symbols[0] = pos_;
    return g_.call(ops::append_rows, {cache, rows}, a, name + "'");
  }

  ValueId block(ValueId x, const std::string& p) {
    const i64 q_width = c_.heads * c_.head_dim, kv_width = c_.kv_heads * c_.head_dim;
    const ValueId h = norm(x, p + "attn_norm.weight", p + "attn_norm");
    const ValueId q = rope(project(h, p + "attn_q.weight", q_width, c_.width, p + "q"), p + "q_rope");
    const ValueId k = rope(project(h, p + "attn_k.weight", kv_width, c_.width, p + "k"), p + "k_rope");
    const ValueId v = project(h, p + "attn_v.weight", kv_width, c_.width, p + "v");
    const ValueId keys = cached(k, p + "k_cache"), values = cached(v, p + "v_cache");
    Attrs a;
    a.ints = {c_.heads, c_.kv_heads, 0, 0};
    a.floats[0] = 1.0 / std::sqrt(static_cast<double>(c_.head_dim));
    a.symbols[0] = pos_;
    const ValueId att = g_.call(ops::attention, {q, keys, values}, a, p + "attention");
    x = g_.call(ops::add, {x, project(att, p + "attn_output.weight", c_.width, q_width, p + "attn_output")}, {},
                p + "attn_residual");
    const ValueId f = norm(x, p + "ffn_norm.weight", p + "ffn_norm");
    const ValueId gate = project(f, p + "ffn_gate.weight", c_.ffn, c_.width, p + "gate");
    const ValueId up = project(f, p + "ffn_up.weight", c_.ffn, c_.width, p + "up");
    const ValueId hidden = g_.call(ops::silu_mul, {gate, up}, {}, p + "hidden");
    return g_.call(ops::add, {x, project(hidden, p + "ffn_down.weight", c_.width, c_.ffn, p + "down")}, {},
                   p + "residual");
  }

  const LlamaConfig& c_;
  const LlamaOptions& o_;
  const SpecOf& spec_of_;
  GraphBuilder g_;
  SymbolId n_, pos_;
  ValueId angles_ = kNone, quantized_ = kNone, quantized_of_ = kNone;
};

}  // namespace

const TensorSpec& checked_spec(const SpecOf& spec_of, const std::string& name, const Shape& want) {
  const TensorSpec* s = spec_of(name);
  if (!s) throw Error(ErrorKind::bad_file, "the model has no such tensor", name);
  if (!(s->shape == want))
    throw Error(
        ErrorKind::bad_file,
        fmt::format("is {}, the model's configuration needs {}", to_string(*s), to_string({s->dtype, s->layout, want})),
        name);
  return *s;
}

Graph llama(const LlamaConfig& c, const LlamaOptions& o, const SpecOf& spec_of) {
  if (o.context < 1 || o.context > c.context)
    throw Error(ErrorKind::usage,
                fmt::format("a context of {} tokens is not in 1..{}, the model's", o.context, c.context), "context",
                "ask for a shorter prompt and fewer tokens, or --ctx");
  if (o.max_tokens < 1 || o.max_tokens > o.context)
    throw Error(ErrorKind::usage, "a step takes between one token and the context", "max_tokens");
  return Builder(c, o, spec_of).build();
}

}  // namespace terrace::nn
