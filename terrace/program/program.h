// The user's object: a graph planned for a machine and a budget, verified, and run.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "terrace/engine/engine.h"
#include "terrace/kernels/kernel.h"
#include "terrace/plan/planner/planner.h"
#include "terrace/run/host_engine.h"

namespace terrace {

class Program {
 public:
  /// `plan` must pass verify for this graph; throws Error(failure) otherwise.
  Program(Graph graph, Machine machine, Plan plan, const std::vector<Placement>& weights, Isa isa,
          KernelsFn kernels = cpu_kernels);

  const Graph& graph() const { return *graph_; }
  const Machine& machine() const { return *machine_; }
  const Plan& plan() const { return *plan_; }

  /// Sets up memory and threads, and brings pinned weights in. Call once before run().
  const Trace& load(const HostOptions& options);
  bool loaded() const { return host_ != nullptr; }
  /// Gives the host's memory back; run() needs another load().
  void unload() { host_.reset(); }
  /// One repetition of the body whose intervals hold the symbols. Error(usage) if there is none.
  const Trace& run(const Bindings& bindings);
  /// One repetition of a named body: those with goals run by name only.
  const Trace& run(std::string_view body, const Bindings& bindings);
  TensorView output(ValueId v) const { return host_->output(v); }
  void reset_state();
  HostEngine& host() { return *host_; }

  /// What run() with these symbols would take on the plan's machine. State of the lanes goes on from call to call.
  const Trace& predict(std::span<const i64> symbols);
  const Trace& predict(std::string_view body, std::span<const i64> symbols);
  /// Forgets the simulated lanes' state.
  void reset_prediction();

 private:
  u32 body_of(std::span<const i64> symbols) const;
  u32 body_named(std::string_view body) const;
  std::unique_ptr<Graph> graph_;  // engines keep references: addresses must not change
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Plan> plan_;
  std::unique_ptr<KernelTable> kernels_;
  std::unique_ptr<HostEngine> host_;
  std::unique_ptr<Engine> sim_;
  Trace nothing_;  ///< of a load that has nothing to bring in
};

/// Plans, verifies. Throws as make_plan does.
Program compile(Graph graph, Machine machine, const PlanRequest& request, KernelsFn kernels = cpu_kernels);

}  // namespace terrace
