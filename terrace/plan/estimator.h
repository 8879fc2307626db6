// What a step costs, from the op's cost and the machine's cost functions: planner and simulator cannot disagree.
#pragma once

#include <optional>
#include <span>

#include "terrace/machine/cost.h"
#include "terrace/plan/plan.h"

namespace terrace {

/// The views that a step's operands have at these symbol values. `bases[tier]` is where the tier's arena lies
/// (all null gives extents and strides only). Operands in the node's order; file placements have null data.
struct StepViews {
  TensorView in[kMaxOperands], out[kMaxOperands];
  int n_in = 0, n_out = 0;
};
StepViews bind_step(const Graph& graph, const Plan& plan, const Body& body, const Step& step,
                    std::span<const i64> symbols, std::span<std::byte* const> bases = {});

/// Bytes and operations of a step at these symbol values.
struct StepWork {
  Bytes read[8], written[8];  ///< payload by tier (at most 8 tiers)
  Bytes transferred;          ///< of a Move: payload plus what whole granules add
  int requests = 1;           ///< of a Move
  double flops = 0;
  bool single_row = false;
};
StepWork step_work(const Graph& graph, const Plan& plan, const Body& body, const Step& step,
                   std::span<const i64> symbols);

struct StepEstimate {
  Seconds seconds;               ///< uncontended
  std::optional<Joules> joules;  ///< nothing when any part is unknown
  Joules known_joules;           ///< sum of the known parts
};
StepEstimate estimate(const Graph& graph, const Machine& machine, const Plan& plan, const Body& body, const Step& step,
                      const StepWork& work);

/// The physical bound of one repetition that touches S bytes of weights with W of them kept in fast memory, reads A
/// bytes of cache and does F operations: max((S-W)/slow, (S+A+S-W)/fast, F/peak). DESIGN "physics", docs/interface.md.
struct Bound {
  Seconds seconds;
  const char* by = "";  ///< "disk", "dram", "compute"
};
Bound physical_bound(Bytes touched, Bytes kept, Bytes cache_read, double flops, BytesPerSecond slow,
                     BytesPerSecond fast, OpsPerSecond peak);

}  // namespace terrace
