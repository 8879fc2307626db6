#include "terrace/program/program.h"

#include <fmt/format.h>

#include <utility>

#include "terrace/core/error.h"
#include "terrace/plan/verify.h"
#include "terrace/sim/sim_engine.h"

namespace terrace {

Program::Program(Graph graph, Machine machine, Plan plan, const std::vector<Placement>& weights, Isa isa,
                 KernelsFn kernels)
    : graph_(std::make_unique<Graph>(std::move(graph))),
      machine_(std::make_unique<Machine>(std::move(machine))),
      plan_(std::make_unique<Plan>(std::move(plan))),
      kernels_(std::make_unique<KernelTable>(kernels(isa))) {
  verify_or_throw(*graph_, *machine_, *plan_, weights);
}

const Trace& Program::load(const HostOptions& options) {
  host_.reset();  // one engine's memory at a time
  host_ = std::make_unique<HostEngine>(*graph_, *plan_, *kernels_, options);
  const u32 load = plan_->find_body("load");
  return load == kNone ? nothing_ : host_->run(load, {});
}

u32 Program::body_of(std::span<const i64> symbols) const {
  const u32 body = plan_->body_for(symbols);
  if (body == kNone) {
    std::string values;
    for (std::size_t i = 0; i < symbols.size(); ++i)
      values += fmt::format("{}{} = {}", i ? ", " : "", graph_->symbols()[i].name, symbols[i]);
    throw Error(ErrorKind::usage, "no body of the plan is made for " + values);
  }
  return body;
}

u32 Program::body_named(std::string_view body) const {
  const u32 b = plan_->find_body(body);
  if (b == kNone) throw Error(ErrorKind::usage, "the plan has no such body", std::string(body));
  return b;
}

const Trace& Program::run(const Bindings& bindings) {
  if (!host_) throw Error(ErrorKind::usage, "run() before load()");
  return host_->run(body_of(bindings.symbols), bindings);
}

const Trace& Program::run(std::string_view body, const Bindings& bindings) {
  if (!host_) throw Error(ErrorKind::usage, "run() before load()");
  return host_->run(body_named(body), bindings);
}

void Program::reset_state() {
  if (host_) host_->reset_state();
}

const Trace& Program::predict(std::span<const i64> symbols) {
  return predict(plan_->bodies[body_of(symbols)].name, symbols);
}

const Trace& Program::predict(std::string_view body, std::span<const i64> symbols) {
  if (!sim_) sim_ = std::make_unique<SimEngine>(*graph_, *machine_, *plan_, Provenance::predicted);
  return sim_->run(body_named(body), {symbols, {}});
}

void Program::reset_prediction() { sim_.reset(); }

Program compile(Graph graph, Machine machine, const PlanRequest& request, KernelsFn kernels) {
  Plan plan = make_plan(graph, machine, kernels(request.isa), request);
  return Program(std::move(graph), std::move(machine), std::move(plan), request.weights, request.isa, kernels);
}

}  // namespace terrace
