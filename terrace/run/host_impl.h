// The host engine's parts, seen by its own sources only.
#pragma once

#include <array>

#include "terrace/engine/schedule.h"
#include "terrace/plan/estimator.h"
#include "terrace/run/host_engine.h"
#include "terrace/run/io_lane.h"
#include "terrace/run/memory.h"
#include "terrace/run/workers.h"

namespace terrace {

struct HostEngine::Impl {
  Impl(const Graph& g, const Plan& p, const KernelTable& kernels, HostOptions o);

  const Trace& run(u32 body, const Bindings& bindings);
  void run_watched(u32 body, const Bindings& bindings,
                   const std::function<bool(const Node&, std::span<const TensorView>)>& look);
  void reset_state();

  // Before a repetition (host_bind.cc): nothing here may throw once `prepare` has ended.
  void prepare(u32 body, const Bindings& bindings);
  void bind(u32 body, std::span<const i64> symbols);
  void account_changed(u32 body, std::span<const i64> symbols);
  /// Adds the step's traffic to `into`; its payload.
  Bytes payload_of(const Body& body, const Step& step, std::span<const i64> symbols, Totals& into) const;

  // During one.
  void walk(int worker);
  void walk_first();
  void wait_first(const Wait& w, double& now);
  void call(const ComputeEntry& e, int worker) const;
  bool ready(const Wait& w) const {
    return (w.compute < 0 || workers.passed(base + static_cast<u32>(w.compute) + 1)) && lane.ready(w);
  }
  void check_cancel() const;
  void load(u32 body);
  void finish(double begin, double end);

  const Graph& graph;
  const Plan& plan;
  const HostOptions options;
  std::vector<KernelFn> kernel_fns;  ///< by index into Plan::kernels
  std::vector<std::byte*> bases;     ///< by tier; filled while arenas are made
  std::vector<run::ArenaMemory> arenas;
  RingLayout layout;
  std::vector<BodySchedule> schedules;
  std::vector<char> once_done;  ///< by body
  bool lost = false;

  // Of the body bound last.
  u32 body = kNone;
  std::vector<i64> symbols, accounted;  ///< bound to; that `changing` was accounted for
  std::vector<TensorView> views;
  std::vector<char> in_shapes;  ///< by symbol: some extent depends on it
  Totals fixed, changing;       ///< payloads of steps that depend on shapes only, and of the rest
  const BodySchedule* schedule = nullptr;
  u32 base = 0;  ///< compute steps of the team before this repetition

  Trace trace;
  std::vector<run::Transfer> load_transfers;
  double busy = 0, io_wait = 0;

  // Last: they use what stands above, and end first.
  run::Workers workers;
  run::IoLane lane;
};

}  // namespace terrace
