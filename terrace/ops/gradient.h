// The gradient as a pass over the graph: reverse-mode differentiation that only adds nodes.
// (Griewank & Walther 2008, Evaluating Derivatives, chapter 3.)
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "terrace/graph/graph.h"

namespace terrace {

/// What the `grad` of an op is given: the node, the gradients of its outputs, and a place for those of its inputs.
class GradContext {
 public:
  GradContext(GraphBuilder& builder, NodeId node, std::vector<ValueId>& gradients, const std::vector<char>& active);
  GraphBuilder& builder() { return b_; }
  const Attrs& attrs() const { return attrs_; }
  ValueId in(int i) const { return inputs_[static_cast<std::size_t>(i)]; }
  ValueId out(int i = 0) const { return outputs_[static_cast<std::size_t>(i)]; }
  const TensorSpec& spec(ValueId v) const { return b_.spec(v); }
  /// d loss / d out(i); kNone if the loss does not depend on it.
  ValueId of_out(int i = 0) const { return gradients_[out(i)]; }
  /// Whether the gradient of input i is asked for.
  bool wants(int i) const { return active_[in(i)] != 0; }
  /// Adds to d loss / d in(i), which has the input's shape; where several nodes read a value, their parts are summed
  /// in the order of the sweep.
  void give(int i, ValueId gradient);
  ValueId call(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs = {}) {
    return b_.call(op, std::move(inputs), attrs);
  }

 private:
  GraphBuilder& b_;
  const std::vector<ValueId> inputs_, outputs_;  // copies: the graph's own move as it grows
  const Attrs attrs_;
  std::vector<ValueId>& gradients_;
  const std::vector<char>& active_;
};

/// Appends nodes that compute d loss / d v for each v of `wrt` (values of kind state, weight or input; any shape) and
/// returns those gradients. `loss` is f32 or f64 [1]. `complete` is called for each of them as soon as nothing that
/// comes later in the sweep reads v or adds to its gradient: an optimizer's node recorded there runs then.
/// Throws Error(usage) naming the value when the loss does not depend on it, and naming the op when it has no gradient.
std::vector<ValueId> gradients(GraphBuilder& builder, ValueId loss, std::span<const ValueId> wrt,
                               const std::function<void(std::size_t i, ValueId gradient)>& complete = {});

}  // namespace terrace
