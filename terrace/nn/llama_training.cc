#include "terrace/nn/llama_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "terrace/core/error.h"
#include "terrace/nn/loss.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {
namespace {

struct Target {
  std::string_view name, matrix;
};
constexpr std::array<Target, 7> kTargets = {{{"q", "attn_q.weight"},
                                             {"k", "attn_k.weight"},
                                             {"v", "attn_v.weight"},
                                             {"o", "attn_output.weight"},
                                             {"gate", "ffn_gate.weight"},
                                             {"up", "ffn_up.weight"},
                                             {"down", "ffn_down.weight"}}};

/// Rows and columns of a target's matrix.
std::pair<i64, i64> extents(const LlamaConfig& c, std::string_view target) {
  const i64 q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  if (target == "q") return {q, c.width};
  if (target == "k" || target == "v") return {kv, c.width};
  if (target == "o") return {c.width, q};
  if (target == "down") return {c.width, c.ffn};
  return {c.ffn, c.width};
}

std::string layer(i64 i) { return fmt::format("blk.{}.", i); }

}  // namespace

std::string lora_matrix(std::string_view target) {
  std::vector<std::string_view> known;
  for (const Target& t : kTargets) {
    if (t.name == target) return std::string(t.matrix);
    known.push_back(t.name);
  }
  throw Error(ErrorKind::usage, fmt::format("there is no matrix \"{}\" to adapt", target), "lora.targets",
              fmt::format("some of {}", fmt::join(known, ", ")));
}

std::vector<LoraPlace> lora_places(const LlamaConfig& c, const Lora& lora) {
  std::vector<LoraPlace> all;
  if (lora.targets.empty()) throw Error(ErrorKind::usage, "names no matrix", "lora.targets");
  for (i64 i = 0; i < c.layers; ++i)
    for (auto t = lora.targets.begin(); t != lora.targets.end(); ++t) {
      const auto [rows, columns] = extents(c, *t);
      const std::string name = lora_matrix(*t);
      if (std::find(lora.targets.begin(), t, *t) != t)
        throw Error(ErrorKind::usage, fmt::format("names \"{}\" twice", *t), "lora.targets");
      if (lora.rank < 1 || lora.rank > std::min(rows, columns))
        throw Error(ErrorKind::usage,
                    fmt::format("a rank of {} is not in 1..{}, that of a matrix of {} x {}", lora.rank,
                                std::min(rows, columns), rows, columns),
                    "lora.rank", "a smaller one: 4 to 64 is usual");
      all.push_back({layer(i) + name, rows, columns});
    }
  return all;
}

TrainableLlama::TrainableLlama(GraphBuilder& builder, const LlamaConfig& config, const std::optional<Lora>& lora,
                               const SpecOf& spec_of, DType dtype)
    : b_(builder), c_(config), lora_(lora), spec_of_(spec_of), dtype_(dtype) {
  if (lora_)
    for (const LoraPlace& p : lora_places(c_, *lora_)) adapted_.push_back(p.weight);
  const i64 q = c_.heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim;
  table_ = tensor("token_embd.weight", {Dim(c_.vocabulary), Dim(c_.width)});
  for (i64 i = 0; i < c_.layers; ++i) {
    const std::string p = layer(i);
    Block& x = blocks_.emplace_back();
    x.attn_norm = tensor(p + "attn_norm.weight", {Dim(c_.width)});
    x.q = matrix(p + "attn_q.weight", q, c_.width);
    x.k = matrix(p + "attn_k.weight", kv, c_.width);
    x.v = matrix(p + "attn_v.weight", kv, c_.width);
    x.o = matrix(p + "attn_output.weight", c_.width, q);
    x.ffn_norm = tensor(p + "ffn_norm.weight", {Dim(c_.width)});
    x.gate = matrix(p + "ffn_gate.weight", c_.ffn, c_.width);
    x.up = matrix(p + "ffn_up.weight", c_.ffn, c_.width);
    x.down = matrix(p + "ffn_down.weight", c_.width, c_.ffn);
  }
  output_norm_ = tensor("output_norm.weight", {Dim(c_.width)});
  output_ = spec_of("output.weight") ? tensor("output.weight", {Dim(c_.vocabulary), Dim(c_.width)}) : table_;
}

ValueId TrainableLlama::tensor(const std::string& name, Shape shape) {
  const TensorSpec& spec = checked_spec(spec_of_, name, shape);
  if (lora_) return b_.weight(name, spec);
  const ValueId v = b_.state(name, {dtype_, Layout::dense, shape});
  parameters_.push_back({name, v, 0, 0, shape.rank > 1});
  return v;
}

TrainableLlama::Matrix TrainableLlama::matrix(const std::string& name, i64 rows, i64 columns) {
  Matrix m;
  m.w = tensor(name, {Dim(rows), Dim(columns)});
  if (std::find(adapted_.begin(), adapted_.end(), name) == adapted_.end()) return m;
  m.a = b_.state(name + ".lora_a", {dtype_, Layout::dense, {Dim(lora_->rank), Dim(columns)}});
  m.b = b_.state(name + ".lora_b", {dtype_, Layout::dense, {Dim(rows), Dim(lora_->rank)}});
  parameters_.push_back({name + ".lora_a", m.a, 1 / std::sqrt(static_cast<double>(columns)), 0, true});
  parameters_.push_back({name + ".lora_b", m.b, 0, 0, true});
  return m;
}

/// Numbers of a file, in the type that is computed in.
ValueId TrainableLlama::in_type(ValueId v) {
  if (b_.spec(v).layout != Layout::dense || b_.spec(v).dtype == DType::f16) v = b_.call(ops::dequantize, {v});
  if (b_.spec(v).dtype == dtype_) return v;
  Attrs a;
  a.ints[0] = dtype_ == DType::f64 ? 2 : 0;
  return b_.call(ops::cast, {v}, a);
}

/// What products take: packed weights as they lie, other numbers in the type that is computed in.
ValueId TrainableLlama::factor(ValueId w) {
  const TensorSpec& s = b_.spec(w);
  return s.layout == Layout::dense && s.dtype != DType::f16 ? in_type(w) : w;
}

/// x w^T.
ValueId TrainableLlama::product(ValueId x, ValueId w, const std::string& name) {
  Attrs a;
  a.ints = {0, 1, 1, 0};
  return b_.call(ops::matmul, {x, factor(w)}, a, name);
}

ValueId TrainableLlama::project(ValueId x, const Matrix& m, const std::string& name) {
  const ValueId y = product(x, m.w, name);
  if (m.a == kNone) return y;
  Attrs by;
  by.floats[0] = lora_->scale();
  const ValueId low = b_.call(ops::scale, {product(x, m.a, name + "_lora_a")}, by);
  return b_.call(ops::add, {y, product(low, m.b, name + "_lora_b")}, {}, name + "_adapted");
}

ValueId TrainableLlama::norm(ValueId x, ValueId w, const std::string& name) {
  Attrs a;
  a.floats[0] = c_.norm_eps;
  return b_.call(ops::rms_norm, {x, in_type(w)}, a, name);
}

ValueId TrainableLlama::block(ValueId x, ValueId angles, const Block& p, const std::string& name) {
  Attrs turn, heads;
  turn.ints[0] = c_.head_dim;
  heads.ints = {c_.heads, c_.kv_heads, 1, 0};
  heads.floats[0] = 1 / std::sqrt(static_cast<double>(c_.head_dim));
  const ValueId h = norm(x, p.attn_norm, name + "attn_norm");
  // One after the other: the order of nodes, and so of sums, must not be the compiler's.
  const ValueId q = b_.call(ops::rope, {project(h, p.q, name + "q"), angles}, turn, name + "q_rope");
  const ValueId k = b_.call(ops::rope, {project(h, p.k, name + "k"), angles}, turn, name + "k_rope");
  const ValueId v = project(h, p.v, name + "v");
  const ValueId attended = b_.apply(ops::flash_attention, {q, k, v}, heads, name + "attention")[0];
  x = b_.call(ops::add, {x, project(attended, p.o, name + "attn_output")}, {}, name + "attn_residual");
  const ValueId f = norm(x, p.ffn_norm, name + "ffn_norm");
  const ValueId gate = project(f, p.gate, name + "gate"), up = project(f, p.up, name + "up");
  const ValueId hidden = b_.call(ops::silu_mul, {gate, up}, {}, name + "hidden");
  return b_.call(ops::add, {x, project(hidden, p.down, name + "down")}, {}, name + "residual");
}

/// ids [B, T] -> [B, T, width]: what the output matrix is multiplied with.
ValueId TrainableLlama::hidden(ValueId ids) {
  ValueId x = in_type(b_.call(ops::take_rows, {table_, ids}, {}, "embedding_rows"));
  Attrs a;
  a.ints[0] = c_.rope_dims;
  a.floats[0] = c_.rope_base;
  const ValueId angles = b_.call(ops::rope_angles, {x}, a, "rope_angles");
  for (std::size_t i = 0; i < blocks_.size(); ++i) x = block(x, angles, blocks_[i], layer(static_cast<i64>(i)));
  return norm(x, output_norm_, "output_norm");
}

ValueId TrainableLlama::logits(ValueId ids) { return product(hidden(ids), output_, "logits"); }

ValueId TrainableLlama::loss(ValueId ids, ValueId targets, bool trains) {
  // Beside adapters logits would be a large part of the memory; cut anywhere, where the matrix has no gradient.
  constexpr i64 kRows = 128;
  return linear_cross_entropy(b_, hidden(ids), factor(output_), targets, {trains, trains && !lora_, lora_ ? kRows : 0});
}

}  // namespace terrace::nn
