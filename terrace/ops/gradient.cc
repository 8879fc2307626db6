#include "terrace/ops/gradient.h"

#include <fmt/format.h>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace {

GradContext::GradContext(GraphBuilder& builder, NodeId node, std::vector<ValueId>& gradients,
                         const std::vector<char>& active)
    : b_(builder),
      inputs_(builder.graph().node(node).inputs),
      outputs_(builder.graph().node(node).outputs),
      attrs_(builder.graph().node(node).attrs),
      gradients_(gradients),
      active_(active) {}

void GradContext::give(int i, ValueId gradient) {
  if (!(b_.spec(gradient) == b_.spec(in(i))))
    throw Error(
        ErrorKind::failure,
        fmt::format("the gradient is {}, the value {}", to_string(b_.spec(gradient)), to_string(b_.spec(in(i)))),
        b_.graph().value(in(i)).name);
  ValueId& sum = gradients_[in(i)];
  sum = sum == kNone ? gradient : b_.call(ops::add, {sum, gradient});
}

namespace {

/// Values that `wrt` reaches and that carry real numbers: those through which gradients flow.
std::vector<char> active_values(const Graph& g, std::span<const ValueId> wrt) {
  std::vector<char> active(g.values().size(), 0);
  for (ValueId v : wrt) active[v] = 1;
  for (const Node& n : g.nodes())
    for (ValueId v : n.inputs)
      if (active[v])
        for (ValueId o : n.outputs) active[o] = g.value(o).spec.dtype != DType::i32;
  return active;
}

}  // namespace

std::vector<ValueId> gradients(GraphBuilder& b, ValueId loss, std::span<const ValueId> wrt,
                               const std::function<void(std::size_t, ValueId)>& complete) {
  const TensorSpec& one = b.spec(loss);
  if (one.layout != Layout::dense || one.shape.rank != 1 || !(one.shape[0] == Dim(1)))
    throw Error(ErrorKind::usage, "a loss is one number", to_string(one));
  const auto nodes = static_cast<NodeId>(b.graph().nodes().size());
  const std::vector<char> active = active_values(b.graph(), wrt);
  const std::vector<char> counts = b.graph().needed_nodes({&loss, 1});
  std::vector<NodeId> first_reader(active.size(), nodes);  // that the sweep comes to: it may still add readers
  for (NodeId n = nodes; n-- > 0;)
    for (ValueId v : b.graph().node(n).inputs)
      if (counts[n]) first_reader[v] = n;

  std::vector<ValueId> of(active.size(), kNone), result(wrt.size(), kNone);
  Attrs unity;
  unity.floats[0] = 1;
  if (active[loss]) of[loss] = b.call(ops::fill, {loss}, unity, "d_loss");
  const auto settle = [&](NodeId n) {
    for (std::size_t i = 0; i < wrt.size(); ++i) {
      if (first_reader[wrt[i]] != n || of[wrt[i]] == kNone) continue;
      result[i] = of[wrt[i]];
      if (complete) complete(i, result[i]);
    }
  };
  settle(nodes);  // the loss itself
  for (NodeId n = nodes; n-- > 0;) {
    const Node node = b.graph().node(n);
    bool flows = false, wanted = false;
    for (ValueId v : node.outputs) flows |= of[v] != kNone;
    for (ValueId v : node.inputs) wanted |= active[v] != 0;
    if (flows && wanted) {
      if (node.op->grad == nullptr)
        throw Error(ErrorKind::usage, fmt::format("{} has no gradient", node.op->name),
                    b.graph().value(node.outputs[0]).name);
      GradContext c(b, n, of, active);
      node.op->grad(c);
    }
    settle(n);
  }
  for (std::size_t i = 0; i < wrt.size(); ++i)
    if (result[i] == kNone)
      throw Error(ErrorKind::usage, "the loss does not depend on it", b.graph().value(wrt[i]).name);
  return result;
}

}  // namespace terrace
