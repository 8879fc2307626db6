// A graph anew, with some of its nodes replaced.
#pragma once

#include <span>
#include <vector>

#include "terrace/graph/graph.h"

namespace terrace::passes {

/// One node in the place of several. All values are those of the old graph.
struct Fusion {
  std::vector<NodeId> nodes;  ///< that go
  NodeId at = kNone;          ///< the one of them where the new node stands
  const OpDef* op = nullptr;
  Attrs attrs;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;  ///< the value that each of its outputs is; kNone: a new one
};

/// A node once more, whose result later nodes read in the place of a value.
struct Repeat {
  ValueId of = kNone;
  NodeId before = kNone;  ///< where it stands; this node and those behind it read the result
  const OpDef* op = nullptr;
  Attrs attrs;
  std::vector<ValueId> inputs;
};

struct Rewritten {
  Graph graph;
  std::vector<ValueId> value;  ///< by value of the old graph: the same in the new one; kNone where it is gone
};

/// Fusions share no nodes. Values keep names and order. Throws Error(usage) if a fusion reads what is not there.
Rewritten rewrite(const Graph& graph, std::span<const Fusion> fusions, std::span<const Repeat> repeats = {});

/// What a pass asks of a graph before it moves a reader or removes a value.
class Uses {
 public:
  /// `keep`: values that somebody will ask for, besides the graph's outputs.
  Uses(const Graph& graph, std::span<const ValueId> keep);
  const Graph& graph() const { return graph_; }
  /// The node that computes `v`, if it is one of `op`; else null.
  const Node* made_by(ValueId v, const OpDef& op) const;
  std::span<const NodeId> readers(ValueId v) const { return readers_[v]; }
  /// Nobody but one node reads it, once.
  bool only_read_by(ValueId v, NodeId n) const;
  bool kept(ValueId v) const { return kept_[v] != 0; }
  /// Whether node `n` could read it: it is there by then, and no node before has written its next version over it, but
  /// for those of `going`.
  bool readable_at(ValueId v, NodeId n, std::span<const NodeId> going = {}) const;

 private:
  const Graph& graph_;
  std::vector<std::vector<NodeId>> readers_;
  std::vector<char> kept_;
  std::vector<NodeId> replaced_at_;  ///< by value: the node that makes the state's next version
};

}  // namespace terrace::passes
