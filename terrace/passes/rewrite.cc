#include "terrace/passes/rewrite.h"

#include <algorithm>
#include <map>

namespace terrace::passes {
namespace {

class Rewriter {
 public:
  Rewriter(const Graph& graph, std::span<const Fusion> fusions, std::span<const Repeat> repeats)
      : old_(graph), fusions_(fusions), fusion_of_(graph.nodes().size(), kNone) {
    for (const Repeat& r : repeats) repeats_.emplace(r.before, &r);
    to_.value.assign(graph.values().size(), kNone);
    for (u32 f = 0; f < fusions.size(); ++f)
      for (NodeId n : fusions[f].nodes) fusion_of_[n] = f;
  }

  Rewritten run() {
    for (const Symbol& s : old_.symbols()) b_.symbol(s.name, s.max);
    for (ValueId v = 0; v < old_.values().size(); ++v) {
      const Value& value = old_.value(v);
      switch (value.kind) {
        case ValueKind::input: to_.value[v] = b_.input(value.name, value.spec); break;
        case ValueKind::weight: to_.value[v] = b_.weight(value.name, value.spec); break;
        case ValueKind::state: to_.value[v] = b_.state(value.name, value.spec); break;
        case ValueKind::computed:
          if (old_.node(value.producer).outputs[0] == v) emit(value.producer);
      }
    }
    for (ValueId v : old_.outputs()) b_.output(to_.value[v]);
    to_.graph = b_.finish();
    return std::move(to_);
  }

 private:
  void emit(NodeId n) {
    for (auto [at, end] = repeats_.equal_range(n); at != end; ++at) {
      const Repeat& r = *at->second;
      add(*r.op, r.inputs, r.attrs, {&r.of, 1}, ".again");
    }
    const Node& node = old_.node(n);
    if (fusion_of_[n] == kNone) return add(*node.op, node.inputs, node.attrs, node.outputs);
    const Fusion& f = fusions_[fusion_of_[n]];
    if (f.at == n) add(*f.op, f.inputs, f.attrs, f.outputs);
  }
  void add(const OpDef& op, std::vector<ValueId> inputs, const Attrs& attrs, std::span<const ValueId> outputs,
           const char* suffix = "") {
    for (ValueId& v : inputs) v = to_.value[v];
    const std::vector<ValueId> made = b_.apply(op, std::move(inputs), attrs);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] == kNone) continue;
      to_.value[outputs[i]] = made[i];
      b_.rename(made[i], old_.value(outputs[i]).name + suffix);
    }
  }

  const Graph& old_;
  std::span<const Fusion> fusions_;
  std::vector<u32> fusion_of_;  ///< by node
  std::multimap<NodeId, const Repeat*> repeats_;
  GraphBuilder b_;
  Rewritten to_;
};

}  // namespace

Rewritten rewrite(const Graph& graph, std::span<const Fusion> fusions, std::span<const Repeat> repeats) {
  return Rewriter(graph, fusions, repeats).run();
}

Uses::Uses(const Graph& graph, std::span<const ValueId> keep)
    : graph_(graph),
      readers_(graph.readers()),
      kept_(graph.values().size(), 0),
      replaced_at_(graph.values().size(), kNone) {
  for (ValueId v : keep) kept_[v] = 1;
  for (ValueId v : graph.outputs()) kept_[v] = 1;
  for (const Value& v : graph.values())
    if (v.alias_of != kNone) replaced_at_[v.alias_of] = v.producer;
}

const Node* Uses::made_by(ValueId v, const OpDef& op) const {
  const NodeId n = graph_.value(v).producer;
  return n != kNone && graph_.node(n).op == &op ? &graph_.node(n) : nullptr;
}

bool Uses::only_read_by(ValueId v, NodeId n) const { return readers_[v].size() == 1 && readers_[v][0] == n; }

bool Uses::readable_at(ValueId v, NodeId n, std::span<const NodeId> going) const {
  const NodeId made = graph_.value(v).producer, replaced = replaced_at_[v];
  const bool there = made == kNone || made < n;
  return there &&
         (replaced == kNone || replaced >= n || std::find(going.begin(), going.end(), replaced) != going.end());
}

}  // namespace terrace::passes
