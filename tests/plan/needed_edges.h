// Which edges of a plan no other edge implies, worked out without the verifier: without any of them a plan is unsound.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "terrace/plan/plan.h"

namespace terrace::testing {

struct EdgeAt {
  u32 body, step, edge;
};

/// Steps that have ended before `step` starts, through `done` edges other than edge `skip` of it.
inline std::vector<bool> before(const Body& b, u32 step, u32 skip = kNone) {
  std::vector<bool> seen(b.steps.size(), false);
  std::vector<u32> todo;
  auto follow = [&](u32 s, u32 but) {
    for (u32 i = 0; i < b.steps[s].n_edges; ++i) {
      const Edge& e = b.after(b.steps[s])[i];
      if (i == but || e.kind != Edge::done || seen[e.of]) continue;
      seen[e.of] = true;
      todo.push_back(e.of);
    }
  };
  follow(step, skip);
  while (!todo.empty()) {
    const u32 s = todo.back();
    todo.pop_back();
    follow(s, kNone);
  }
  return seen;
}

/// Whether in every repeated body all readers of block `a` have ended when those of block `b` have.
inline bool released_with(const Plan& p, u32 a, u32 b) {
  const auto readers = [&](const Body& body, u32 block) {
    std::vector<u32> found;
    for (u32 s = 0; s < body.steps.size(); ++s)
      if (std::ranges::any_of(body.reads(body.steps[s]),
                              [&](const Operand& o) { return o.placement == p.stream[block].to; }))
        found.push_back(s);
    return found;
  };
  for (const Body& body : p.bodies) {
    if (body.once) continue;
    std::vector<bool> ended(body.steps.size(), false);
    for (u32 r : readers(body, b)) {
      const std::vector<bool> earlier = before(body, r);
      for (std::size_t s = 0; s < ended.size(); ++s) ended[s] = ended[s] || earlier[s];
      ended[r] = true;
    }
    if (!std::ranges::all_of(readers(body, a), [&](u32 r) { return ended[r]; })) return false;
  }
  return true;
}

inline bool implied(const Plan& p, const Body& b, u32 step, u32 edge) {
  const Edge lost = b.after(b.steps[step])[edge];
  std::vector<bool> earlier = before(b, step, lost.kind == Edge::done ? edge : kNone);
  if (lost.kind == Edge::done) return earlier[lost.of];
  earlier[step] = true;
  for (u32 s = 0; s < b.steps.size(); ++s) {
    if (!earlier[s]) continue;
    // What starts after a compute, or a gather, of this repetition starts after all of the one before.
    if (s != step && b.steps[s].block == kNone) return true;
    for (u32 i = 0; i < b.steps[s].n_edges; ++i) {
      const Edge& e = b.after(b.steps[s])[i];
      if (e.kind == Edge::released && !(s == step && i == edge) && released_with(p, lost.of, e.of)) return true;
    }
  }
  return false;
}

/// Edges of a kind that no others imply.
inline std::vector<EdgeAt> needed_edges(const Plan& p, Edge::Kind kind) {
  std::vector<EdgeAt> found;
  for (u32 b = 0; b < p.bodies.size(); ++b)
    for (u32 s = 0; s < p.bodies[b].steps.size(); ++s)
      for (u32 i = 0; i < p.bodies[b].steps[s].n_edges; ++i)
        if (p.bodies[b].after(p.bodies[b].steps[s])[i].kind == kind && !implied(p, p.bodies[b], s, i))
          found.push_back({b, s, i});
  return found;
}

/// Calls `f` while the edge is missing.
template <class F>
void without(Plan& p, EdgeAt at, F f) {
  Step& s = p.bodies[at.body].steps[at.step];
  Edge* e = p.bodies[at.body].edges.data() + s.first_edge;
  std::swap(e[at.edge], e[s.n_edges - 1]);
  --s.n_edges;
  f();
  ++s.n_edges;
  std::swap(e[at.edge], e[s.n_edges - 1]);
}

}  // namespace terrace::testing
