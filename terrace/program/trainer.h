// Training on this machine: a graph with its optimizer, planned, run step by step.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "terrace/nn/parameters.h"
#include "terrace/program/program.h"

namespace terrace {

struct TrainerOptions {
  std::optional<Bytes> budget{};  ///< of the whole process; none: no limit but the machine's memory
  int threads = 1;
  Isa isa = Isa::portable;
  Bytes data{};  ///< what the process holds besides: batches and what they are drawn from
  /// Graph outputs that evaluate() computes, without the update.
  std::vector<ValueId> evaluation{};
  std::vector<PlanFile> files{};     ///< that the graph's weights are read from, if it has any
  std::vector<Placement> weights{};  ///< Owner::file: where each of them lies
};

/// A graph without symbols, whose states are parameters, moments and counts.
class Trainer {
 public:
  /// Plans and verifies. Throws Error(does_not_fit) with the smallest budget that would do.
  Trainer(Graph graph, const nn::Update& update, std::span<const nn::Parameter> parameters, Machine machine,
          const TrainerOptions& options);

  /// Sets up memory and threads, all states zero but the parameters: see nn::initialize.
  void start(u64 seed);
  /// One step of the optimizer; the loss before it. Inputs must all be bound.
  float step(std::span<const InputBinding> inputs);
  /// An f32 output of the graph after the step or evaluation that computes it.
  std::span<const float> output(ValueId v) const;
  /// What a step would take on the plan's machine.
  Trace prediction();
  double predicted_seconds() { return prediction().totals.seconds; }
  /// The outputs of TrainerOptions::evaluation, without any change of states; the first of them.
  std::span<const float> evaluate(std::span<const InputBinding> inputs);
  /// A step, looked at node by node (HostEngine::run_watched).
  void watch_step(std::span<const InputBinding> inputs,
                  const std::function<bool(const Node&, std::span<const TensorView> outputs)>& look);
  /// A parameter's numbers (or a moment's), to be read or set between steps.
  std::span<float> values(ValueId state);
  std::span<std::byte> bytes(ValueId state);  ///< the same, of any state

  std::span<const nn::Parameter> parameters() const { return parameters_; }
  const Plan& plan() const { return program_->plan(); }
  const Graph& graph() const { return program_->graph(); }
  const Trace& trace() const { return *trace_; }  ///< of the last step or evaluation
  /// The arena's region for activations, gradients and scratch of a step, and the most bytes of it that live at once:
  /// no packing takes less.
  Bytes region_bytes() const;
  Bytes live_bytes() const;

 private:
  std::unique_ptr<Program> program_;
  std::vector<nn::Parameter> parameters_;
  nn::Update update_;
  std::vector<ValueId> evaluation_;
  const Trace* trace_ = nullptr;
};

}  // namespace terrace
