// The verifier's entry: which part runs when.
#include "terrace/plan/verify.h"

#include <algorithm>
#include <memory>

#include "terrace/core/error.h"
#include "terrace/plan/verify_internal.h"

namespace terrace {

std::string_view name_of(Defect d) {
  static constexpr std::string_view kNames[] = {
      "malformed", "wrong_graph",   "missing_node", "duplicate_node", "read_before_write", "not_arrived",      "race",
      "overlap",   "outside_arena", "over_budget",  "misaligned",     "unaccounted",       "wrong_repetition", "cycle"};
  const auto i = static_cast<std::size_t>(d);
  return i < std::size(kNames) ? kNames[i] : "?";
}

namespace {
using verifying::Context;

void check_identity(Context& c) {
  const Plan& p = c.plan;
  if (p.graph_fingerprint != c.graph.fingerprint())
    c.report(Defect::wrong_graph, "the plan was made for another graph");
  if (p.machine != c.machine.name)
    c.report(Defect::wrong_graph, "the plan was made for machine '{}', not '{}'", p.machine, c.machine.name);
  bool same = p.tiers.size() == c.machine.tiers.size();
  for (std::size_t i = 0; same && i < p.tiers.size(); ++i) same = p.tiers[i] == c.machine.tiers[i].id;
  if (!same) c.report(Defect::wrong_graph, "the plan's tiers are not the machine's");
}

/// Facts that later parts look up. The structure has been checked.
void prepare(Context& c) {
  const Graph& g = c.graph;
  c.loaded.assign(c.plan.placements.size(), false);
  for (const Body& b : c.plan.bodies)
    if (b.once)
      for (const Step& s : b.steps)
        for (const Operand& o : b.writes(s)) c.loaded[o.placement] = true;
  c.next_version.assign(g.values().size(), kNone);
  for (ValueId v = 0; v < g.values().size(); ++v)
    if (g.value(v).alias_of != kNone) c.next_version[g.value(v).alias_of] = v;
}

void check_bodies(Context& c) {
  struct Checked {
    u32 body;
    std::unique_ptr<verifying::Order> order;
    std::vector<verifying::Tenant> tenants;
  };
  std::vector<Checked> repeated;
  for (u32 b = 0; b < c.plan.bodies.size(); ++b) {
    const Body& body = c.plan.bodies[b];
    if (!body.once) verifying::check_nodes(c, b);
    Checked x{b, std::make_unique<verifying::Order>(body), {}};
    if (const u32 s = x.order->stuck(); s != kNone) {
      c.report(Defect::cycle, "{} waits for itself, through edges and the order of issue in its lane", c.label(b, s));
      continue;
    }
    verifying::check_order(c, b, *x.order, x.tenants);
    if (!body.once) repeated.push_back(std::move(x));
  }
  for (const Checked& a : repeated)
    for (const Checked& b : repeated) verifying::check_repetition(c, a.body, *a.order, a.tenants, b.body, *b.order);
}
}  // namespace

std::vector<Finding> verify(const Graph& graph, const Machine& machine, const Plan& plan,
                            const std::vector<Placement>& weights) {
  Context c{graph, machine, plan, {}, {}, {}, {}, {}, {}, {}};
  c.true_place.assign(graph.values().size(), nullptr);
  for (const Placement& p : weights)
    if (p.value < c.true_place.size() && p.owner == Owner::file) c.true_place[p.value] = &p;
  check_identity(c);
  if (!c.findings.empty() || !verifying::check_structure(c) || !verifying::check_operands(c))
    return std::move(c.findings);
  prepare(c);
  verifying::check_memory(c);
  verifying::check_transfers(c);
  check_bodies(c);
  return std::move(c.findings);
}

void verify_or_throw(const Graph& graph, const Machine& machine, const Plan& plan,
                     const std::vector<Placement>& weights) {
  const std::vector<Finding> findings = verify(graph, machine, plan, weights);
  if (findings.empty()) return;
  std::string text = "the plan is not sound";
  for (std::size_t i = 0; i < std::min<std::size_t>(findings.size(), 4); ++i)
    text += fmt::format("; {}: {}", name_of(findings[i].defect), findings[i].what);
  if (findings.size() > 4) text += fmt::format("; and {} more", findings.size() - 4);
  throw Error(ErrorKind::failure, text, {}, "make the plan anew");
}

}  // namespace terrace
