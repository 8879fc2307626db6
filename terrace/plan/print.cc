// The plan as text: tiers x uses, bodies, and every step where asked.
#include <fmt/format.h>

#include <array>

#include "terrace/plan/plan.h"

namespace terrace {
namespace {

std::string mib(u64 bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) / 1048576.0); }

std::string seconds(double s) {
  if (s >= 1) return fmt::format("{:.2f} s", s);
  if (s >= 1e-3) return fmt::format("{:.2f} ms", s * 1e3);
  return fmt::format("{:.2f} us", s * 1e6);
}

/// Bytes of a tier by use. Uses that lie in the region that bodies share count with their farthest reach: what the
/// uses overlap is theirs once, under the first of activations, scratch, staging that reaches it.
std::array<u64, kUses> by_use(const Plan& p, TierId t) {
  std::array<u64, kUses> sum{};
  u64 region_begin = ~u64{0};
  for (const Placement& x : p.placements)
    if (x.owner == Owner::plan && x.tier == t && x.body != kNone) region_begin = std::min(region_begin, x.offset);
  u64 ring_end = 0, reached = region_begin;
  for (const Placement& x : p.placements) {
    if (x.owner != Owner::plan || x.tier != t) continue;
    const u64 end = x.offset + x.bytes.count + x.pad_after;
    if (x.use == Use::ring)
      ring_end = std::max(ring_end, end);
    else if (x.body == kNone)
      sum[static_cast<std::size_t>(x.use)] += x.bytes.count;
  }
  sum[static_cast<std::size_t>(Use::ring)] = ring_end;
  for (const Use u : {Use::activations, Use::scratch, Use::staging}) {
    u64 end = reached;
    for (const Placement& x : p.placements)
      if (x.owner == Owner::plan && x.tier == t && x.body != kNone && x.use == u)
        end = std::max(end, x.offset + x.bytes.count);
    if (end > reached) sum[static_cast<std::size_t>(u)] = end - reached;
    reached = end;
  }
  return sum;
}

void print_tier(const Plan& p, TierId t, std::string& out) {
  auto row = [&out](std::string_view name, u64 bytes) { out += fmt::format("  {:<28}{:>12}\n", name, mib(bytes)); };
  out += fmt::format("{:<30}{:>12}\n", p.tiers[t], "MiB");
  u64 known = 0;
  const auto uses = by_use(p, t);
  for (int u = 0; u < kUses; ++u)
    if (const u64 b = uses[static_cast<std::size_t>(u)]; b > 0) {
      row(name_of(static_cast<Use>(u)), b);
      known += b;
    }
  const u64 arena = p.arena_bytes(t).count;
  row("unaccounted (alignment)", arena > known ? arena - known : 0);
  for (const Reserve& r : p.reserves)
    if (r.tier == t) row(r.name, r.bytes.count);
  row("total", p.total_bytes(t).count);
  for (const TierBudget& b : p.budget)
    if (b.tier == t) {
      row("free", b.bytes.count - std::min(b.bytes.count, p.total_bytes(t).count));
      row("budget", b.bytes.count);
    }
}

std::string operand(const Plan& p, const Graph& g, const Operand& o) {
  const std::string name = o.value < g.values().size() ? g.value(o.value).name : "?";
  const Placement& at = p.placements[o.placement];
  std::string s = fmt::format("{}@{}+{}", name, at.owner == Owner::file ? "file" : p.tiers[at.tier], at.offset);
  if (o.axis >= 0) s += fmt::format("[{}:{}..{}]", o.axis, o.begin, o.end);
  return s;
}

void print_step(const Plan& p, const Graph& g, const Body& b, u32 id, std::string& out) {
  const Step& s = b.steps[id];
  const std::string_view kind = s.kind == StepKind::compute ? "compute" : s.gather ? "gather" : "move";
  const std::string_view what = s.kind == StepKind::compute ? std::string_view(p.kernels[s.kernel])
                                : s.gather                  ? g.node(s.node).op->name
                                                            : "";
  out += fmt::format("  {:>5} {:<7} {:<24}", id, kind, what);
  if (s.kind == StepKind::compute) out += fmt::format(" x{}", s.workers);
  for (const Operand& o : b.reads(s)) out += " " + operand(p, g, o);
  out += " ->";
  for (const Operand& o : b.writes(s)) out += " " + operand(p, g, o);
  for (const Edge& e : b.after(s)) out += fmt::format(" {}{}", e.kind == Edge::done ? "after " : "released ", e.of);
  out += fmt::format("  {} B  {}\n", s.payload.count, seconds(s.seconds.value));
}

}  // namespace

std::string to_text(const Plan& plan, const Graph& graph, bool steps) {
  std::string out = fmt::format("plan for {}: {} workers, {} transfers in flight, granule {} B\n", plan.machine,
                                plan.workers, plan.io_depth, plan.granule);
  for (TierId t = 0; t < plan.tiers.size(); ++t)
    if (plan.total_bytes(t).count > 0) print_tier(plan, t, out);
  out += fmt::format("smallest budget {} MiB\n", mib(plan.smallest_budget.count));
  for (const Body& b : plan.bodies) {
    double compute = 0, io = 0;
    u64 moved = 0;
    for (const Step& s : b.steps) {
      (s.kind == StepKind::compute ? compute : io) += s.seconds.value;
      if (s.kind == StepKind::move) moved += s.payload.count;
    }
    out += fmt::format("body {}:", b.name);
    for (std::size_t i = 0; i < b.symbols.size(); ++i)
      out += fmt::format(" {} {}..{}", graph.symbols()[i].name, b.symbols[i].lo, b.symbols[i].hi);
    out += fmt::format("; {} steps, {} MiB moved, compute {}, transfers {}\n", b.steps.size(), mib(moved),
                       seconds(compute), seconds(io));
    if (steps)
      for (u32 i = 0; i < b.steps.size(); ++i) print_step(plan, graph, b, i, out);
  }
  return out;
}

}  // namespace terrace
