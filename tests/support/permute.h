// Another legal order of a planned body: any order that its edges allow, with the ring's Moves in their own order.
#pragma once

#include <algorithm>
#include <vector>

#include "support/random_graph.h"
#include "terrace/plan/plan.h"

namespace terrace::testing {

/// New step order (old indices): a random topological order of the body's `done` edges.
inline std::vector<u32> random_order(const Body& b, Random& r) {
  std::vector<std::vector<u32>> next(b.steps.size());
  std::vector<u32> waits(b.steps.size(), 0), ready, order;
  const auto edge = [&](u32 from, u32 to) {
    next[from].push_back(to);
    ++waits[to];
  };
  u32 last_ring = kNone;
  for (u32 s = 0; s < b.steps.size(); ++s) {
    for (const Edge& e : b.after(b.steps[s]))
      if (e.kind == Edge::done) edge(e.of, s);
    if (b.steps[s].block == kNone) continue;
    if (last_ring != kNone) edge(last_ring, s);
    last_ring = s;
  }
  for (u32 s = 0; s < b.steps.size(); ++s)
    if (waits[s] == 0) ready.push_back(s);
  while (!ready.empty()) {
    std::swap(ready[static_cast<std::size_t>(r.below(static_cast<i64>(ready.size())))], ready.back());
    const u32 s = ready.back();
    ready.pop_back();
    order.push_back(s);
    for (u32 t : next[s])
      if (--waits[t] == 0) ready.push_back(t);
  }
  return order;
}

/// Reorders the steps of one body. Edges and lifetimes follow the steps they name; a placement lives from the first to
/// the last step that uses it (outputs to the body's end).
inline void permute(Plan& plan, const Graph& graph, u32 body, Random& r) {
  Body& b = plan.bodies[body];
  const std::vector<u32> order = random_order(b, r);
  std::vector<u32> place(order.size());
  std::vector<Step> steps;
  for (u32 i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    steps.push_back(b.steps[order[i]]);
  }
  b.steps = std::move(steps);
  for (Edge& e : b.edges)
    if (e.kind == Edge::done) e.of = place[e.of];
  for (Placement& p : plan.placements)
    if (p.body == body) p.birth = kNone, p.death = 0;
  const auto use = [&](u32 placement, u32 step) {
    Placement& p = plan.placements[placement];
    if (p.body != body) return;
    p.birth = std::min(p.birth, step);
    p.death = std::max(p.death, step);
    if (p.value == kNone) return;
    for (ValueId v : graph.outputs())
      if (v == p.value) p.death = static_cast<u32>(b.steps.size() - 1);
  };
  for (u32 s = 0; s < b.steps.size(); ++s) {
    for (const Operand& o : b.reads(b.steps[s])) use(o.placement, s);
    for (const Operand& o : b.writes(b.steps[s])) use(o.placement, s);
    if (b.steps[s].scratch != kNone) use(b.steps[s].scratch, s);
  }
}

}  // namespace terrace::testing
