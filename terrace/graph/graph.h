// What is computed: an SSA list of nodes over values. It knows nothing of memory.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/tensor.h"
#include "terrace/graph/op_def.h"

namespace terrace {

using ValueId = u32;
using NodeId = u32;
inline constexpr u32 kNone = ~u32{0};

enum class ValueKind : std::uint8_t {
  input,     ///< bound anew for each run
  weight,    ///< constant; bytes come from a file
  state,     ///< persists from one run to the next (KV cache); zero at first
  computed,  ///< made by a node
};
std::string_view name_of(ValueKind k);

struct Symbol {
  std::string name;
  i64 max = 1;  ///< upper bound, inclusive; every value is at least 0
};

struct Value {
  std::string name;
  ValueKind kind = ValueKind::computed;
  TensorSpec spec;
  NodeId producer = kNone;   ///< the node that computes it
  ValueId alias_of = kNone;  ///< the version of the state whose bytes it takes over
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;
};

/// Immutable once built; nodes stand in an order in which every value is computed before it is used.
class Graph {
 public:
  const std::vector<Symbol>& symbols() const { return symbols_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Value& value(ValueId v) const { return values_[v]; }
  const Node& node(NodeId n) const { return nodes_[n]; }
  const std::vector<ValueId>& outputs() const { return outputs_; }

  /// Upper bound of each symbol, in symbol order.
  std::vector<i64> symbol_bounds() const;
  std::optional<SymbolId> find_symbol(std::string_view name) const;
  std::optional<ValueId> find_value(std::string_view name) const;
  /// The first version of the state whose bytes `v` lives in; `v` itself if it is no later version.
  ValueId root_of(ValueId v) const;
  /// By node: whether one of these values needs it. All nodes if there are none.
  std::vector<char> needed_nodes(std::span<const ValueId> goals) const;
  /// Nodes that read each value, in node order.
  std::vector<std::vector<NodeId>> readers() const;
  /// A hash of everything that a plan depends on: ops, attributes, specs, edges, symbols (not names of values).
  u64 fingerprint() const;
  u64 memory_bytes() const;  ///< on the heap: counts in a budget

 private:
  friend class GraphBuilder;
  std::vector<Symbol> symbols_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> outputs_;
};

/// Records calls. All checks happen here, so that a Graph is always well formed.
class GraphBuilder {
 public:
  GraphBuilder() = default;
  /// Goes on where a graph ended: passes that only add nodes (gradients, optimizers) do.
  explicit GraphBuilder(Graph graph);
  SymbolId symbol(std::string name, i64 max);
  ValueId input(std::string name, TensorSpec spec);
  ValueId weight(std::string name, TensorSpec spec);
  ValueId state(std::string name, TensorSpec spec);
  /// Applies an op; returns its outputs. An op that works in place gives the next version of the state it takes,
  /// which must be the newest version. Throws Error(usage) naming op and shapes.
  std::vector<ValueId> apply(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs = {}, std::string name = {});
  /// The same for the usual op with one output.
  ValueId call(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs = {}, std::string name = {});
  void output(ValueId v);
  void rename(ValueId v, std::string name) { graph_.values_[v].name = std::move(name); }
  const TensorSpec& spec(ValueId v) const { return graph_.values_[v].spec; }
  /// What has been recorded so far.
  const Graph& graph() const { return graph_; }
  Graph finish();

 private:
  ValueId add(Value v);
  Graph graph_;
  std::vector<ValueId> replaced_by_;  ///< by value: the next version of a state
};

/// The graph as text, one line a value or node.
std::string to_text(const Graph& g);

}  // namespace terrace
