// The plan as text: tiers x uses, bodies, and every step where asked.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

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

/// Weights that stay in the files of a tier: what travels through the ring, and tables whose rows are picked by ids. A
/// tied table is in both.
struct InFile {
  u64 streamed = 0, by_row = 0;
};

InFile in_file(const Plan& p, TierId t) {
  InFile sum;
  for (const StreamBlock& b : p.stream)
    if (p.placements[b.from].tier == t) sum.streamed += p.placements[b.to].bytes.count;
  std::vector<bool> seen(p.placements.size());  // bodies share them
  for (const Body& b : p.bodies)
    for (const Step& s : b.steps) {
      if (!s.gather) continue;
      const u32 table = b.reads(s).front().placement;
      const Placement& x = p.placements[table];
      if (x.owner == Owner::file && x.tier == t && !seen[table]) sum.by_row += x.bytes.count;
      seen[table] = true;
    }
  return sum;
}

using Row = std::vector<std::optional<u64>>;  ///< a cell for each shown tier

void print_row(std::string_view name, const Row& cells, std::string& out) {
  out += fmt::format("  {:<28}", name);
  for (const auto& c : cells) out += fmt::format("{:>12}", c ? mib(*c) : "-");
  while (out.ends_with(' ')) out.pop_back();
  out += '\n';
}

/// Rows are uses, columns the tiers that anything lies in.
void print_tiers(const Plan& p, std::string& out) {
  std::vector<TierId> tiers;
  std::vector<InFile> files;
  for (TierId t = 0; t < p.tiers.size(); ++t) {
    const InFile f = in_file(p, t);
    if (p.total_bytes(t).count == 0 && f.streamed == 0 && f.by_row == 0) continue;
    tiers.push_back(t);
    files.push_back(f);
  }
  out += fmt::format("{:<30}", "MiB");
  for (const TierId t : tiers) out += fmt::format("{:>12}", p.tiers[t]);
  out += '\n';
  // A row of what `cell` gives for each tier: left out where that is nothing everywhere, unless asked for.
  const auto row = [&](std::string_view name, bool always, auto cell) {
    Row r;
    bool any = always;
    for (std::size_t i = 0; i < tiers.size(); ++i) {
      r.push_back(cell(i));
      any = any || r.back().value_or(0) > 0;
    }
    if (any) print_row(name, r, out);
  };
  const auto held = [](u64 bytes) { return bytes ? std::optional(bytes) : std::nullopt; };
  std::vector<std::array<u64, kUses>> uses;
  for (const TierId t : tiers) uses.push_back(by_use(p, t));
  for (std::size_t u = 0; u < kUses; ++u)
    row(name_of(static_cast<Use>(u)), false, [&](std::size_t i) { return held(uses[i][u]); });
  row("weights in file, streamed", false, [&](std::size_t i) { return held(files[i].streamed); });
  row("weights in file, by row", false, [&](std::size_t i) { return held(files[i].by_row); });
  row("unaccounted (alignment)", true, [&](std::size_t i) -> std::optional<u64> {
    const u64 arena = p.arena_bytes(tiers[i]).count;
    if (arena == 0) return std::nullopt;
    u64 known = 0;
    for (const u64 b : uses[i]) known += b;
    return arena > known ? arena - known : 0;
  });
  for (const Reserve& r : p.reserves)
    row(r.name, true, [&](std::size_t i) { return r.tier == tiers[i] ? std::optional(r.bytes.count) : std::nullopt; });
  // What only stays in a file is no part of what the process takes.
  const auto total = [&](std::size_t i) { return p.total_bytes(tiers[i]).count; };
  row("total", true, [&](std::size_t i) { return held(total(i)); });
  const auto budget = [&](std::size_t i) -> std::optional<u64> {
    for (const TierBudget& b : p.budget)
      if (b.tier == tiers[i]) return b.bytes.count;
    return std::nullopt;
  };
  if (p.budget.empty()) return;
  row("free", true, [&](std::size_t i) -> std::optional<u64> {
    const auto b = budget(i);
    return b ? std::optional(*b - std::min(*b, total(i))) : std::nullopt;
  });
  row("budget", true, budget);
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
  print_tiers(plan, out);
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
