#include "terrace/plan/planner/planner.h"

#include "terrace/plan/estimator.h"
#include "terrace/plan/planner/draft.h"

namespace terrace {
namespace planner {

void state_times(Draft& d) {
  for (Body& body : d.plan.bodies)
    for (Step& s : body.steps) {
      const StepWork w = step_work(d.graph, d.plan, body, s, body.typical);
      for (std::size_t t = 0; t < 8; ++t)
        s.payload += s.kind == StepKind::compute ? w.read[t] + w.written[t] : w.written[t];
      s.seconds = estimate(d.graph, d.machine, d.plan, body, s, w).seconds;
    }
}

namespace {
/// What is known before any size is chosen.
void survey(Draft& d) {
  check_request(d);
  choose_kernels(d);
  survey_weights(d);
  survey_lifetimes(d);
}
}  // namespace
}  // namespace planner

Plan make_plan(const Graph& graph, const Machine& machine, const KernelTable& kernels, const PlanRequest& request) {
  planner::Draft d(graph, machine, kernels, request);
  planner::survey(d);
  planner::choose_sizes(d);  // chunk bounds, what is pinned and streamed, ring, region of activations
  planner::place(d);         // offsets
  planner::emit_steps(d);
  planner::connect_steps(d);  // edges
  planner::state_times(d);
  return std::move(d.plan);
}

Bytes smallest_budget(const Graph& graph, const Machine& machine, const KernelTable& kernels,
                      const PlanRequest& request) {
  planner::Draft d(graph, machine, kernels, request);
  planner::survey(d);
  return planner::smallest(d);
}

}  // namespace terrace
