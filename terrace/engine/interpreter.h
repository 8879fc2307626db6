// The oracle: walks a graph with the reference kernels. No plan, no budget, nothing clever.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "terrace/engine/engine.h"
#include "terrace/kernels/kernel.h"

namespace terrace {

class Interpreter {
 public:
  /// `weights(v)` gives the packed bytes of a weight; called once for each. Throws Error(usage) when their number is
  /// wrong or a node has no reference kernel.
  Interpreter(const Graph& graph, const KernelTable& kernels,
              const std::function<std::vector<std::byte>(ValueId)>& weights);
  /// Computes every value for these symbols and inputs; state persists to the next call. Throws Error(usage) for
  /// bindings that do not fit.
  void run(const Bindings& bindings) { run(bindings, {}); }
  /// Only the nodes that `goals` need; all if there are none.
  void run(const Bindings& bindings, std::span<const ValueId> goals);
  /// Packed bytes of a value after run(), at the actual extents.
  std::span<const std::byte> bytes(ValueId v) const;
  void reset_state();
  /// The bytes of a state (its first version), to be read or set between runs.
  std::span<std::byte> state(ValueId v) { return storage_[graph_.root_of(v)]; }

 private:
  const Graph& graph_;
  const KernelTable& kernels_;
  std::vector<std::vector<std::byte>> storage_;  ///< by root value
  std::vector<std::byte> scratch_;
  std::vector<i64> symbols_;  ///< of the last run
};

}  // namespace terrace
