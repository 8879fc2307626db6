#include "terrace/program/trainer.h"

#include <malloc.h>

#include <algorithm>
#include <map>

#include "terrace/core/error.h"
#include "terrace/program/reserve.h"

namespace terrace {
namespace {

std::span<float> floats_of(const TensorView& v) {
  return {reinterpret_cast<float*>(v.data), static_cast<std::size_t>(packed_bytes(v).count / 4)};
}

}  // namespace

Trainer::Trainer(Graph graph, const nn::Update& update, std::span<const nn::Parameter> parameters, Machine machine,
                 const TrainerOptions& options)
    : parameters_(parameters.begin(), parameters.end()), update_(update), evaluation_(options.evaluation) {
  PlanRequest request;
  BodyRequest step;
  step.name = "step";
  step.goals = update.changed;
  step.goals.push_back(update.loss);
  request.bodies.push_back(step);
  if (!evaluation_.empty()) {
    BodyRequest evaluation;
    evaluation.name = "evaluation";
    evaluation.weight = 0.01;
    evaluation.goals = evaluation_;
    request.bodies.push_back(evaluation);
  }
  ProcessNeeds needs;
  needs.graph = Bytes{graph.memory_bytes()};
  needs.data = options.data;
  needs.threads = options.threads;
  request.files = options.files;
  request.weights = options.weights;
  const TierId memory = machine.main_memory();
  request.reserves = process_reserves(memory, needs);
  if (options.budget) request.budget.push_back({memory, *options.budget});
  request.threads = options.threads;
  request.isa = options.isa;
  program_ = std::make_unique<Program>(compile(std::move(graph), std::move(machine), request));
}

void Trainer::start(u64 seed) {
#ifdef __GLIBC__
  ::malloc_trim(0);  // planning is over: what it held goes back before the arena is filled
#endif
  program_->load({});
  for (const nn::Parameter& p : parameters_) nn::initialize(p, seed, values(p.value));
}

float Trainer::step(std::span<const InputBinding> inputs) {
  trace_ = &program_->run("step", {{}, inputs});
  return floats_of(program_->output(update_.loss))[0];
}

std::span<const float> Trainer::evaluate(std::span<const InputBinding> inputs) {
  if (evaluation_.empty()) throw Error(ErrorKind::usage, "no evaluation was planned for");
  trace_ = &program_->run("evaluation", {{}, inputs});
  return floats_of(program_->output(evaluation_[0]));
}

void Trainer::watch_step(std::span<const InputBinding> inputs,
                         const std::function<bool(const Node&, std::span<const TensorView>)>& look) {
  program_->host().run_watched(program_->plan().find_body("step"), {{}, inputs}, look);
}

std::span<const float> Trainer::output(ValueId v) const { return floats_of(program_->output(v)); }

Trace Trainer::prediction() {
  Trace trace = program_->predict("step", {});
  program_->reset_prediction();
  return trace;
}

std::span<std::byte> Trainer::bytes(ValueId state) {
  if (!program_->loaded()) throw Error(ErrorKind::usage, "start() comes first");
  const TensorView v = program_->host().state(state);
  return {v.data, static_cast<std::size_t>(packed_bytes(v).count)};
}

std::span<float> Trainer::values(ValueId state) {
  const std::span<std::byte> b = bytes(state);
  return {reinterpret_cast<float*>(b.data()), b.size() / sizeof(float)};
}

namespace {
/// Placements of the step's own: what lives from one step of the plan to another.
template <class F>
void each_of_region(const Plan& plan, F f) {
  const u32 body = plan.find_body("step");
  for (const Placement& p : plan.placements)
    if (p.owner == Owner::plan && p.body == body) f(p);
}
}  // namespace

Bytes Trainer::region_bytes() const {
  u64 begin = ~u64{0}, end = 0;
  each_of_region(plan(), [&](const Placement& p) {
    begin = std::min(begin, p.offset);
    end = std::max(end, p.offset + round_up(p.bytes.count, 64));
  });
  return Bytes{end > begin ? end - begin : 0};
}

Bytes Trainer::live_bytes() const {
  std::vector<i64> change(plan().bodies[plan().find_body("step")].steps.size() + 1, 0);
  std::map<std::pair<u64, u32>, u32> ends;  // offset and step: placements that end there
  each_of_region(plan(), [&](const Placement& p) { ++ends[{p.offset, p.death}]; });
  each_of_region(plan(), [&](const Placement& p) {
    const auto bytes = static_cast<i64>(round_up(p.bytes.count, 64));
    const bool takes_over = p.death > p.birth && ends.contains({p.offset, p.birth});
    change[p.birth + (takes_over ? 1 : 0)] += bytes;
    change[p.death + 1] -= bytes;
  });
  i64 live = 0, most = 0;
  for (i64 c : change) most = std::max(most, live += c);
  return Bytes{static_cast<u64>(most)};
}

}  // namespace terrace
