#include "terrace/passes/fuse.h"

#include <algorithm>

#include "terrace/core/error.h"
#include "terrace/ops/fused.h"
#include "terrace/ops/ops.h"
#include "terrace/passes/recompute.h"

namespace terrace::passes {
namespace {

/// Fused ops have kernels for these.
bool fusible(const Graph& g, std::span<const ValueId> values) {
  const DType t = g.value(values[0]).spec.dtype;
  return (t == DType::f32 || t == DType::f64) &&
         std::all_of(values.begin(), values.end(), [&](ValueId v) { return g.value(v).spec.dtype == t; });
}

/// The statistics of `x` that the gradient of this norm asks for, if it does.
const Node* stats_of(const Uses& u, ValueId x, bool centred, double eps) {
  for (NodeId n : u.readers(x)) {
    const Node& node = u.graph().node(n);
    if (node.op == &ops::norm_stats && (node.attrs.ints[0] != 0) == centred && node.attrs.floats[0] == eps)
      return &node;
  }
  return nullptr;
}

std::vector<Fusion> find_residual_norm(const Uses& u) {
  const Graph& g = u.graph();
  std::vector<Fusion> found;
  std::vector<char> taken(g.nodes().size(), 0);
  for (NodeId n = 0; n < g.nodes().size(); ++n) {
    const Node& norm = g.node(n);
    const bool centred = norm.op == &ops::layer_norm;
    if (!centred && norm.op != &ops::rms_norm) continue;
    const ValueId x = norm.inputs[0];
    const Node* sum = u.made_by(x, ops::add);
    const NodeId at = g.value(x).producer;
    if (sum == nullptr || taken[at] || !fusible(g, norm.inputs) || !fusible(g, norm.outputs)) continue;
    const std::span<const ValueId> weights = std::span(norm.inputs).subspan(1);
    if (!std::all_of(weights.begin(), weights.end(), [&](ValueId v) { return u.readable_at(v, at); })) continue;
    Fusion f;
    f.nodes = {at, n};
    f.at = at;
    f.op = centred ? &ops::add_layer_norm : &ops::add_rms_norm;
    f.attrs = norm.attrs;
    f.inputs = sum->inputs;
    f.inputs.insert(f.inputs.end(), weights.begin(), weights.end());
    f.outputs = {x, norm.outputs[0], kNone};
    if (const Node* stats = stats_of(u, x, centred, norm.attrs.floats[0])) {
      f.nodes.push_back(g.value(stats->outputs[0]).producer);
      f.outputs[2] = stats->outputs[0];
    }
    for (NodeId gone : f.nodes) taken[gone] = 1;
    found.push_back(std::move(f));
  }
  for (NodeId n = 0; n < g.nodes().size(); ++n) {
    const Node& sum = g.node(n);
    if (sum.op != &ops::add || taken[n]) continue;
    for (const std::size_t i : {0u, 1u}) {
      const ValueId d = sum.inputs[i];
      const Node* grad = u.made_by(d, ops::norm_grad);
      if (grad == nullptr || u.kept(d) || !u.only_read_by(d, n) || !fusible(g, grad->inputs)) continue;
      if (!std::all_of(grad->inputs.begin(), grad->inputs.end(), [&](ValueId v) { return u.readable_at(v, n); }))
        continue;
      Fusion f;
      f.nodes = {g.value(d).producer, n};
      f.at = n;
      f.op = &ops::norm_grad_add;
      f.attrs = grad->attrs;
      f.inputs = grad->inputs;
      f.inputs.push_back(sum.inputs[1 - i]);
      f.outputs = {sum.outputs[0]};
      found.push_back(std::move(f));
      break;
    }
  }
  return found;
}

struct ActivationOps {
  const OpDef *function, *gradient;
  ops::Activation which;
};
constexpr ActivationOps kActivations[] = {{&ops::relu, &ops::relu_grad, ops::Activation::relu},
                                          {&ops::gelu, &ops::gelu_grad, ops::Activation::gelu},
                                          {&ops::silu, &ops::silu_grad, ops::Activation::silu}};

/// The nodes that read x + b where they are one activation and its gradients; none if anything else does.
std::vector<Fusion> fuse_activation(const Uses& u, NodeId bias, const ActivationOps& a) {
  const Graph& g = u.graph();
  const ValueId sum = g.node(bias).outputs[0];
  std::vector<Fusion> found;
  int functions = 0;
  for (NodeId n : u.readers(sum)) {
    const Node& node = g.node(n);
    const bool function = node.op == a.function, gradient = node.op == a.gradient && node.inputs[1] != sum;
    functions += function;
    if (!function && !gradient) return {};
    Fusion f;
    f.nodes = {n};
    f.at = n;
    f.op = function ? &ops::bias_activation : &ops::bias_activation_grad;
    f.attrs.ints[0] = static_cast<i64>(a.which);
    f.inputs = g.node(bias).inputs;
    f.outputs = node.outputs;
    if (!std::all_of(f.inputs.begin(), f.inputs.end(), [&](ValueId v) { return u.readable_at(v, n); })) return {};
    if (function)
      f.nodes.push_back(bias);
    else
      f.inputs.push_back(node.inputs[1]);
    found.push_back(std::move(f));
  }
  return functions == 1 ? found : std::vector<Fusion>{};
}

std::vector<Fusion> find_bias_activation(const Uses& u) {
  const Graph& g = u.graph();
  std::vector<Fusion> found;
  for (NodeId n = 0; n < g.nodes().size(); ++n) {
    const Node& bias = g.node(n);
    if (bias.op != &ops::add_row || u.kept(bias.outputs[0]) || !fusible(g, bias.inputs)) continue;
    for (const ActivationOps& a : kActivations) {
      std::vector<Fusion> some = fuse_activation(u, n, a);
      std::move(some.begin(), some.end(), std::back_inserter(found));
    }
  }
  return found;
}

/// AdamW in parts, from its last: w' = descend(rescale(w), m' = blend(m), root(v' = add_square(rescale(v)))).
bool fuse_adamw(const Uses& u, NodeId last, Fusion& f) {
  const Graph& g = u.graph();
  const Node& step = g.node(last);
  const ValueId rate = step.inputs[3];
  const Node *decayed = u.made_by(step.inputs[0], ops::rescale), *m = u.made_by(step.inputs[1], ops::blend),
             *root = u.made_by(step.inputs[2], ops::root);
  const Node* v = root != nullptr ? u.made_by(root->inputs[0], ops::add_square) : nullptr;
  const Node* scaled = v != nullptr ? u.made_by(v->inputs[0], ops::rescale) : nullptr;
  if (decayed == nullptr || m == nullptr || scaled == nullptr) return false;
  const ValueId gradient = m->inputs[1];
  if (v->inputs[1] != gradient || decayed->attrs.floats[0] != 1 || scaled->attrs.floats[1] != 0 ||
      scaled->attrs.floats[0] != v->attrs.floats[0])
    return false;
  for (const Node* n : {decayed, m, root, v})
    if (n->inputs.back() != rate) return false;
  f.nodes = {last};
  for (const Node* n : {decayed, m, root, v, scaled}) f.nodes.push_back(g.value(n->outputs[0]).producer);
  f.at = last;
  f.op = &ops::adamw;
  f.attrs.floats = {m->attrs.floats[0], v->attrs.floats[0], root->attrs.floats[0], -decayed->attrs.floats[1]};
  f.inputs = {decayed->inputs[0], m->inputs[0], scaled->inputs[0], gradient, rate};
  f.outputs = {step.outputs[0], m->outputs[0], v->outputs[0]};
  for (const Node* n : {decayed, root, scaled})  // values that go
    if (u.kept(n->outputs[0]) || u.readers(n->outputs[0]).size() != 1) return false;
  for (const Node* n : {m, v})  // values that come later than they did
    for (NodeId reader : u.readers(n->outputs[0]))
      if (reader < last && std::find(f.nodes.begin(), f.nodes.end(), reader) == f.nodes.end()) return false;
  return std::all_of(f.inputs.begin(), f.inputs.end(), [&](ValueId x) { return u.readable_at(x, last, f.nodes); });
}

std::vector<Fusion> find_adamw(const Uses& u) {
  std::vector<Fusion> found;
  for (NodeId n = 0; n < u.graph().nodes().size(); ++n) {
    Fusion f;
    if (u.graph().node(n).op == &ops::descend && fuse_adamw(u, n, f)) found.push_back(std::move(f));
  }
  return found;
}

struct Pass {
  std::string_view name;
  std::vector<Fusion> (*find)(const Uses& uses);    ///< or null
  std::vector<Repeat> (*repeat)(const Uses& uses);  ///< or null
};

constexpr Pass kPasses[] = {
    {"residual_norm", find_residual_norm, nullptr},
    {"bias_activation", find_bias_activation, nullptr},
    {"adamw", find_adamw, nullptr},
    {"recompute", nullptr, find_recomputed},
};

}  // namespace

Rewritten fuse(const Graph& graph, std::span<const std::string> without, std::span<const ValueId> keep) {
  const auto left_out = [&](std::string_view name) {
    return std::find(without.begin(), without.end(), name) != without.end();
  };
  for (const std::string& name : without)
    if (name != "all" &&
        std::none_of(std::begin(kPasses), std::end(kPasses), [&](const Pass& p) { return p.name == name; })) {
      std::string names = "all";
      for (const Pass& p : kPasses) names.append(", ").append(p.name);
      throw Error(ErrorKind::usage, "is no pass", name, names);
    }
  Rewritten r = rewrite(graph, {});
  for (const Pass& p : kPasses) {
    if (left_out(p.name) || left_out("all")) continue;
    std::vector<ValueId> wanted;
    for (ValueId v : keep) wanted.push_back(r.value[v]);
    const Uses uses(r.graph, wanted);
    const std::vector<Fusion> found = p.find ? p.find(uses) : std::vector<Fusion>{};
    const std::vector<Repeat> repeats = p.repeat ? p.repeat(uses) : std::vector<Repeat>{};
    Rewritten next = rewrite(r.graph, found, repeats);
    for (ValueId& v : r.value)
      if (v != kNone) v = next.value[v];
    r.graph = std::move(next.graph);
  }
  return r;
}

}  // namespace terrace::passes
