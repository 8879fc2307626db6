// Computes what a plan would take on a machine: an event-driven model of one compute lane and one I/O lane.
#pragma once

#include <memory>

#include "terrace/engine/engine.h"
#include "terrace/machine/machine.h"

namespace terrace {

/// Flat tiers and links. Compute steps run one after the other, each as long as `estimate` says. Moves of the ring are
/// a queue with up to Plan::io_depth in flight that share their link. A Move writes into the tier that computes read
/// from: both share that tier's bandwidth. Ring Moves run ahead into the next repetition, so the clock and the lanes'
/// state go on from one run() to the next. Steps, payloads and transferred bytes are HostEngine's for the same plan.
class SimEngine final : public Engine {
 public:
  /// Graph, machine and plan must outlive the engine.
  SimEngine(const Graph& graph, const Machine& machine, const Plan& plan,
            Provenance provenance = Provenance::simulated);
  ~SimEngine() override;

  /// Error(usage) for symbols outside the body's intervals. Inputs are not looked at.
  const Trace& run(u32 body, const Bindings& bindings) override;
  /// There is no state to forget but the caller's position; lanes go on.
  void reset_state() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace
