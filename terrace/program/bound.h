// The physical bound of docs/interface.md: what no plan can beat on this machine with this budget.
#pragma once

#include <optional>
#include <span>

#include "terrace/graph/graph.h"
#include "terrace/plan/estimator.h"

namespace terrace {

/// What one repetition of a graph must touch at these symbol values, whatever the plan.
struct GraphWork {
  Bytes weights;     ///< each weight once, of gathered tables only the rows
  Bytes state_read;  ///< cache bytes read
  double flops = 0;
};
GraphWork graph_work(const Graph& graph, std::span<const i64> symbols);

/// Bytes of all states (caches) of the graph.
Bytes state_bytes(const Graph& graph);

/// What the bound is computed with.
struct BoundRates {
  BytesPerSecond disk, dram;
  OpsPerSecond peak;
};
/// The rates of a machine: its file link at its best, its main memory with `threads`, its fastest contraction.
BoundRates rates_of(const Machine& machine, int threads);

/// Seconds at least for `work` under a whole-process budget (none: everything stays).
/// Weights that can stay: W = clamp(budget - state - R, 0, S), R = 12 MiB for models under 1 GiB, else 32 MiB.
Bound bound_of(const GraphWork& work, Bytes all_weights, Bytes state, std::optional<Bytes> budget,
               const BoundRates& rates);

}  // namespace terrace
