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
  void run(const Bindings& bindings);
  /// Packed bytes of a value after run(), at the actual extents.
  std::span<const std::byte> bytes(ValueId v) const;
  void reset_state();

 private:
  const Graph& graph_;
  const KernelTable& kernels_;
  std::vector<std::vector<std::byte>> storage_;  ///< by root value
  std::vector<std::byte> scratch_;
  std::vector<i64> symbols_;  ///< of the last run
};

}  // namespace terrace
