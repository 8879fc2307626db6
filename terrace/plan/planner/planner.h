// The planner: named passes from a graph, a machine and a budget to a plan.
#pragma once

#include <string>
#include <vector>

#include "terrace/kernels/kernel.h"
#include "terrace/plan/plan.h"

namespace terrace {

/// A body to plan for, and how much it matters.
struct BodyRequest {
  std::string name;
  std::vector<Interval> symbols;  ///< for each symbol of the graph
  std::vector<i64> typical;
  /// How often it runs in the work that the plan is judged by. For a body whose `chunk` symbol the planner may bound
  /// lower than asked: the total of that symbol over all runs (say, 256 prompt tokens).
  double weight = 1;
  SymbolId chunk = kNoSymbol;
  std::vector<ValueId> goals{};  ///< see Body::goals; with such bodies no weight is streamed
};

struct PlanRequest {
  std::vector<TierBudget> budget;
  std::vector<BodyRequest> bodies;
  std::vector<Reserve> reserves;
  std::vector<PlanFile> files;
  std::vector<Placement> weights;  ///< Owner::file, whole values: where each weight lies
  int threads = 1;
  Isa isa = Isa::portable;  ///< kernels not above this
  u64 ring_slot_bytes = 0;  ///< 0: the planner chooses
  int ring_slots = 0;
};

/// Throws Error(does_not_fit) carrying the smallest budget when the budget cannot be kept,
/// Error(usage) when no kernel computes a node.
Plan make_plan(const Graph& graph, const Machine& machine, const KernelTable& kernels, const PlanRequest& request);

/// The smallest budget of main memory for which make_plan succeeds.
Bytes smallest_budget(const Graph& graph, const Machine& machine, const KernelTable& kernels,
                      const PlanRequest& request);

}  // namespace terrace
