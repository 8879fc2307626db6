// Structure: every index, interval and extent exists and fits the graph. Everything after may use them unchecked.
#include <algorithm>

#include "terrace/plan/verify_internal.h"

namespace terrace::verifying {
namespace {

void check_scalars(Context& c) {
  const Plan& p = c.plan;
  if (p.workers < 1 || p.workers > 65535) c.report(Defect::malformed, "{} workers", p.workers);
  if (p.io_depth < 1) c.report(Defect::malformed, "{} requests in flight", p.io_depth);
  if (p.granule < 1) c.report(Defect::malformed, "a granule of 0 bytes");
  const std::size_t tiers = c.machine.tiers.size();
  std::vector<bool> seen(tiers, false);
  for (const Arena& a : p.arenas) {
    if (a.tier >= tiers || c.machine.tiers[a.tier].hardware || seen[a.tier]) {
      c.report(Defect::malformed, "an arena in tier {}, which cannot hold one or has one already", a.tier);
      continue;
    }
    seen[a.tier] = true;
  }
  for (const Reserve& r : p.reserves)
    if (r.tier >= tiers) c.report(Defect::malformed, "reserve '{}' in a tier that does not exist", r.name);
  for (const TierBudget& b : p.budget)
    if (b.tier >= tiers) c.report(Defect::malformed, "a budget for a tier that does not exist");
}

/// Symbols' upper bounds by body, and the widest of all.
void check_intervals(Context& c) {
  const auto& symbols = c.graph.symbols();
  c.widest.assign(symbols.size(), 0);
  bool any = false;
  for (const Body& b : c.plan.bodies) {
    c.bounds.push_back(c.graph.symbol_bounds());
    if (b.once) continue;
    any = true;
    for (ValueId v : b.goals)
      if (v >= c.graph.values().size()) c.report(Defect::malformed, "body '{}' has a goal that does not exist", b.name);
    if (b.symbols.size() != symbols.size() || b.typical.size() != symbols.size()) {
      c.report(Defect::malformed, "body '{}' does not give an interval and a typical value for each symbol", b.name);
      continue;
    }
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const Interval& x = b.symbols[i];
      if (x.lo < 0 || x.lo > x.hi || x.hi > symbols[i].max)
        c.report(Defect::malformed, "body '{}': {} in [{}, {}] is not within [0, {}]", b.name, symbols[i].name, x.lo,
                 x.hi, symbols[i].max);
      c.bounds.back()[i] = std::clamp<i64>(x.hi, 0, symbols[i].max);
      c.widest[i] = std::max(c.widest[i], c.bounds.back()[i]);
    }
  }
  if (!any) {
    c.widest = c.graph.symbol_bounds();
    for (NodeId n = 0; n < c.graph.nodes().size(); ++n)
      c.report(Defect::missing_node, "no body computes {}", c.graph.node(n).op->name);
  }
}

const char* placement_fault(const Context& c, const Placement& p) {
  if (p.tier >= c.machine.tiers.size() || c.machine.tiers[p.tier].hardware) return "in a tier that holds none";
  if (p.owner > Owner::file || static_cast<int>(p.use) >= kUses) return "of an unknown kind";
  if (p.body != kNone) {
    if (p.body >= c.plan.bodies.size()) return "in a body that does not exist";
    if (p.birth > p.death || p.death >= c.plan.bodies[p.body].steps.size()) return "with a lifetime outside its body";
  }
  if (p.owner == Owner::file) {
    if (p.file >= c.plan.files.size()) return "in a file that does not exist";
    if (!c.machine.tiers[p.tier].persistent) return "of a file in a tier without files";
    if (p.use != Use::weights || p.body != kNone) return "in a file that is no weight";
  }
  const bool nameless = p.use == Use::scratch || p.use == Use::staging;
  if (nameless != (p.value == kNone)) return "whose use and value do not go together";
  if (nameless) return nullptr;
  if (p.value >= c.graph.values().size()) return "of a value that does not exist";
  if (c.graph.root_of(p.value) != p.value) return "of a later version of a state";
  const Value& v = c.graph.value(p.value);
  const bool fits = v.kind == ValueKind::weight  ? p.use == Use::weights || p.use == Use::ring
                    : v.kind == ValueKind::input ? p.use == Use::inputs
                    : v.kind == ValueKind::state ? p.use == Use::state
                                                 : p.use == Use::activations;
  if (!fits) return "whose use does not fit its value";
  if (!c.is_partial(p)) return nullptr;
  const Dim& rows = v.spec.shape[0];
  if (v.spec.shape.rank < 2 || rows.is_symbol() || p.row_begin < 0 || p.row_begin >= p.row_end ||
      p.row_end > rows.value)
    return "of rows that its value does not have";
  return nullptr;
}

void check_placements(Context& c) {
  for (u32 i = 0; i < c.plan.placements.size(); ++i)
    if (const char* fault = placement_fault(c, c.plan.placements[i]))
      c.report(Defect::malformed, "placement {} is {}", i, fault);
}

void check_stream(Context& c) {
  const auto& places = c.plan.placements;
  for (std::size_t i = 0; i < c.plan.stream.size(); ++i) {
    const StreamBlock& b = c.plan.stream[i];
    if (b.from >= places.size() || b.to >= places.size()) {
      c.report(Defect::malformed, "stream block {} names no placement", i);
      continue;
    }
    const Placement &from = places[b.from], &to = places[b.to];
    if (from.owner != Owner::file || to.owner != Owner::plan || to.use != Use::ring || from.value != to.value)
      c.report(Defect::malformed, "stream block {} does not go from a file to the ring", i);
  }
}

bool step_spans_fit(const Body& b, const Step& s) {
  return u64{s.first_operand} + s.n_reads + s.n_writes <= b.operands.size() &&
         u64{s.first_edge} + s.n_edges <= b.edges.size() && s.n_reads + s.n_writes <= kMaxOperands;
}

const char* step_fault(const Context& c, const Body& b, const Step& s) {
  const bool compute = s.kind == StepKind::compute;
  if (s.kind > StepKind::move || s.lane != (compute ? Lane::compute : Lane::io)) return "is in the wrong lane";
  if (!step_spans_fit(b, s)) return "has operands or edges that do not exist";
  if (s.scratch != kNone && s.scratch >= c.plan.placements.size()) return "has scratch that does not exist";
  for (const Edge& e : b.after(s)) {
    if (e.kind > Edge::released) return "has an edge of an unknown kind";
    if (e.kind == Edge::done && e.of >= b.steps.size()) return "waits for a step that does not exist";
    if (e.kind == Edge::released && (b.once || !c.is_ring_move(s))) return "waits for a block but fills no ring";
    if (e.kind == Edge::released && e.of >= c.plan.stream.size()) return "waits for a block that does not exist";
  }
  if (compute || s.gather) {
    if (b.once) return "computes before the first repetition";
    if (s.node >= c.graph.nodes().size()) return "computes no node";
    if (s.block != kNone) return "computes, yet names a stream block";
  }
  if (compute) {
    if (s.gather) return "is a gather that computes";
    if (s.unit >= c.machine.units.size()) return "runs on no unit";
    if (s.workers != 1 && s.workers != c.plan.workers) return "has a number of workers that is neither one nor all";
    if (s.kernel >= c.plan.kernels.size()) return "has no kernel";
    const std::string op = std::string(c.graph.node(s.node).op->name) + ".";
    if (!c.plan.kernels[s.kernel].starts_with(op)) return "has the kernel of another op";
    return nullptr;
  }
  if (s.link >= c.machine.links.size()) return "takes a link that does not exist";
  if (s.gather) return c.graph.node(s.node).op->row_gather ? nullptr : "gathers for an op that picks no rows";
  if (s.node != kNone || s.scratch != kNone) return "moves, yet names a node or scratch";
  if (s.n_reads != 1 || s.n_writes != 1) return "does not move one placement into another";
  if (b.once != (s.block == kNone)) return "fills the ring once, or something else repeatedly";
  if (s.block != kNone && s.block >= c.plan.stream.size()) return "brings a block that does not exist";
  return nullptr;
}

}  // namespace

bool check_structure(Context& c) {
  check_scalars(c);
  check_intervals(c);
  if (c.findings.empty()) check_placements(c);
  if (c.findings.empty()) check_stream(c);
  if (!c.findings.empty()) return false;
  for (u32 b = 0; b < c.plan.bodies.size(); ++b) {
    const Body& body = c.plan.bodies[b];
    if (body.steps.size() > kMaxBodySteps) {
      c.report(Defect::malformed, "body '{}' has {} steps; at most {} can be checked", body.name, body.steps.size(),
               kMaxBodySteps);
      continue;
    }
    for (u32 s = 0; s < body.steps.size(); ++s)
      if (const char* fault = step_fault(c, body, body.steps[s]))
        c.report(Defect::malformed, "{} step {} {}", body.name, s, fault);
  }
  return c.findings.empty();
}

}  // namespace terrace::verifying
