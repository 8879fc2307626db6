// What happens before a repetition: checks, views, inputs, and the payloads that the trace will state.
#include <fmt/format.h>

#include <cstring>

#include "terrace/core/error.h"
#include "terrace/engine/bindings.h"
#include "terrace/run/host_impl.h"

namespace terrace {

void HostEngine::Impl::prepare(u32 b, const Bindings& bindings) {
  const Body& next = plan.bodies[b];
  check_symbols(graph, bindings.symbols);
  if (!next.holds(bindings.symbols))
    throw Error(ErrorKind::usage, "the symbols lie outside the body's intervals", next.name);
  for (std::size_t i = 0; i < plan.bodies.size(); ++i)
    if (plan.bodies[i].once && !once_done[i])
      throw Error(ErrorKind::usage, "has not been run yet", plan.bodies[i].name);
  check_ids(graph, bindings);
  for (const Placement& p : plan.placements)  // all checks before the first copy
    if (p.use == Use::inputs && p.value != kNone) bound_input(graph, bindings, p.value);
  for (const Placement& p : plan.placements) {
    if (p.use != Use::inputs || p.value == kNone) continue;
    const auto bytes = bound_input(graph, bindings, p.value);
    if (!bytes.empty()) std::memcpy(bases[p.tier] + p.offset, bytes.data(), bytes.size());
  }
  bool rebind = b != body;
  for (std::size_t i = 0; i < symbols.size(); ++i) rebind |= in_shapes[i] && symbols[i] != bindings.symbols[i];
  std::copy(bindings.symbols.begin(), bindings.symbols.end(), symbols.begin());
  if (rebind) bind(b, symbols);
  if (rebind || accounted != symbols) account_changed(b, symbols);
}

Bytes HostEngine::Impl::payload_of(const Body& b, const Step& step, std::span<const i64> values, Totals& into) const {
  const StepWork work = step_work(graph, plan, b, step, values);
  Bytes payload;
  for (std::size_t t = 0; t < kMaxTiers; ++t) {
    into.read[t] += work.read[t];
    into.written[t] += work.written[t];
    payload += step.kind == StepKind::move ? work.read[t] : work.read[t] + work.written[t];
  }
  return payload;
}

namespace {
bool depends_on_symbols(const Graph& graph, const Step& step) {
  if (step.node == kNone) return false;
  for (SymbolId s : graph.node(step.node).attrs.symbols)
    if (s != kNoSymbol) return true;
  return false;
}
}  // namespace

void HostEngine::Impl::bind(u32 b, std::span<const i64> values) {
  body = b;
  schedule = &schedules[b];
  const Body& next = plan.bodies[b];
  auto bind_views = [&](u32 step, u32 first) {
    const StepViews v = bind_step(graph, plan, next, next.steps[step], values, bases);
    for (int i = 0; i < v.n_in; ++i) views[first++] = v.in[i];
    for (int i = 0; i < v.n_out; ++i) views[first++] = v.out[i];
  };
  for (const ComputeEntry& e : schedule->computes) bind_views(e.step, e.first_view);
  for (const GatherEntry& e : schedule->gathers) bind_views(e.step, e.first_view);
  fixed = Totals{};
  trace.body = b;
  trace.records.resize(next.steps.size());
  for (u32 i = 0; i < next.steps.size(); ++i) {
    trace.records[i].step = i;
    trace.records[i].transferred = Bytes{};
    if (!depends_on_symbols(graph, next.steps[i]))
      trace.records[i].payload = payload_of(next, next.steps[i], values, fixed);
  }
}

/// Steps whose traffic follows the position (a cache that grows) are few; only they are looked at each time.
void HostEngine::Impl::account_changed(u32 b, std::span<const i64> values) {
  changing = Totals{};
  const Body& next = plan.bodies[b];
  for (u32 i = 0; i < next.steps.size(); ++i)
    if (depends_on_symbols(graph, next.steps[i]))
      trace.records[i].payload = payload_of(next, next.steps[i], values, changing);
  std::copy(values.begin(), values.end(), accounted.begin());
}

}  // namespace terrace
