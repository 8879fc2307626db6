// Operands: each names the value its node has there, at a placement that holds that part of it.
#include "terrace/plan/verify_internal.h"

namespace terrace::verifying {

u64 Context::slab_bytes(ValueId v, std::span<const i64> symbols) const {
  const TensorSpec& s = graph.value(v).spec;
  const i64 n = s.shape[0].at(symbols);
  return n > 0 ? s.bytes(symbols).count / static_cast<u64>(n) : 0;
}

Bytes Context::needed_bytes(const Placement& p) const {
  if (!is_partial(p)) return graph.value(p.value).spec.bytes(bounds_of(p));
  return Bytes{slab_bytes(p.value, bounds_of(p)) * static_cast<u64>(p.row_end - p.row_begin)};
}

Cut Context::cut_of(u32 body, const Operand& o) const {
  const Placement& p = plan.placements[o.placement];
  Cut cut{o.axis, o.begin, o.end};
  if (o.axis < 0) {
    if (!is_partial(p)) return {};
    cut = {0, p.row_begin, p.row_end};
  }
  const i64 extent = graph.value(o.value).spec.shape[cut.axis].at(bounds[body]);
  return cut.begin == 0 && cut.end == extent ? Cut{} : cut;
}

bool Context::takes_over(const Placement& a, const Placement& b) const {
  if (a.body != b.body || a.body == kNone || a.tier != b.tier || a.offset != b.offset || a.bytes != b.bytes ||
      a.death != b.birth || a.birth >= b.birth || b.value == kNone || a.pad_before + a.pad_after > 0)
    return false;
  const Body& body = plan.bodies[a.body];
  if (b.birth >= body.steps.size()) return false;
  const Step& s = body.steps[b.birth];
  if (s.kind != StepKind::compute || s.n_writes == 0) return false;
  const auto lies_at = [&](const Operand& o, const Placement& p) { return &plan.placements[o.placement] == &p; };
  const Operand& out = body.writes(s)[0];
  if (!lies_at(out, b) || out.axis >= 0) return false;
  const u32 allowed = graph.node(s.node).op->overlay;
  bool read = false;
  for (std::size_t i = 0; i < body.reads(s).size(); ++i) {
    const Operand& in = body.reads(s)[i];
    if (!lies_at(in, a)) continue;
    if (!(allowed >> i & 1) || in.axis >= 0 || !(graph.value(in.value).spec == graph.value(out.value).spec))
      return false;
    read = true;
  }
  return read;
}
std::string Context::label(u32 body, u32 step) const {
  const Step& s = plan.bodies[body].steps[step];
  const std::string_view what = s.node < graph.nodes().size() ? graph.node(s.node).op->name : "move";
  return fmt::format("{} step {} ({})", plan.bodies[body].name, step, what);
}

std::string Context::label(u32 placement) const {
  const Placement& p = plan.placements[placement];
  std::string what(p.value == kNone ? name_of(p.use) : std::string_view(graph.value(p.value).name));
  if (is_partial(p)) what += fmt::format("[{}:{}]", p.row_begin, p.row_end);
  return fmt::format("placement {} ({}, bytes {}..{} of {})", placement, what, p.offset, p.offset + p.bytes.count,
                     machine.tier(p.tier).id);
}

namespace {

/// Null if the cut makes sense for the value and lies within the placement.
const char* cut_fault(const Context& c, u32 body, const Operand& o, bool compute) {
  const Placement& p = c.plan.placements[o.placement];
  if (o.axis < 0) return compute && c.is_partial(p) ? "takes all of a value from a placement of some rows" : nullptr;
  const TensorSpec& spec = c.graph.value(o.value).spec;
  if (o.axis >= spec.shape.rank) return "is cut along an axis that its value does not have";
  const Dim& dim = spec.shape[o.axis];
  const i64 extent = dim.at(c.bounds[body]);
  if (o.begin < 0 || o.begin >= o.end || o.end > extent) return "is cut to an empty or outside part";
  const Body& b = c.plan.bodies[body];
  if (dim.is_symbol() && (b.once || b.symbols[static_cast<std::size_t>(dim.symbol)].lo != extent))
    return "is cut at fixed places along an axis that varies";
  if (c.is_partial(p) && (o.axis != 0 || o.begin < p.row_begin || o.end > p.row_end))
    return "is cut to rows that its placement does not hold";
  if (spec.layout != Layout::dense && o.axis == spec.shape.rank - 1) {
    const bool whole = o.begin == 0 && o.end == extent;
    if (!whole && (spec.layout == Layout::q8a || o.begin % kBlock != 0 || o.end % kBlock != 0))
      return "is cut within blocks";
  }
  return nullptr;
}

const char* operand_fault(const Context& c, u32 body, const Step& s, const Operand& o) {
  if (o.value >= c.graph.values().size() || o.placement >= c.plan.placements.size()) return "does not exist";
  if (o.axis < -1) return "is cut along no axis";
  const Placement& p = c.plan.placements[o.placement];
  if (p.value != c.graph.root_of(o.value)) return "is at a placement of another value";
  if (p.body != kNone && p.body != body) return "is at a placement of another body";
  return cut_fault(c, body, o, s.kind == StepKind::compute);
}

/// Values are the node's; a state is changed where it lies; tiers are the unit's or the link's.
const char* node_fault(const Context& c, const Body& b, const Step& s) {
  const Node& n = c.graph.node(s.node);
  if (s.n_reads != n.inputs.size() || s.n_writes != n.outputs.size())
    return "has another number of operands than its op";
  for (std::size_t i = 0; i < n.inputs.size(); ++i)
    if (b.reads(s)[i].value != n.inputs[i]) return "reads another value than its node";
  for (std::size_t i = 0; i < n.outputs.size(); ++i)
    if (b.writes(s)[i].value != n.outputs[i]) return "writes another value than its node";
  for (std::size_t i = 0; i < static_cast<std::size_t>(n.op->in_place); ++i)
    if (b.reads(s)[i].placement != b.writes(s)[i].placement) return "does not change a state in place";
  for (const Operand& o : b.writes(s))
    if (c.plan.placements[o.placement].owner == Owner::file) return "writes to a file";
  if (s.gather) return nullptr;
  const TierId near = c.machine.units[s.unit].near;
  for (const Operand& o : b.reads(s))
    if (c.plan.placements[o.placement].owner == Owner::plan && c.plan.placements[o.placement].tier != near)
      return "reads from a tier that its unit does not compute on";
  for (const Operand& o : b.writes(s))
    if (c.plan.placements[o.placement].tier != near) return "writes to a tier that its unit does not compute on";
  return nullptr;
}

const char* gather_fault(const Context& c, const Body& b, const Step& s) {
  const Operand &table = b.reads(s)[0], &rows = b.writes(s)[0];
  const Placement& from = c.plan.placements[table.placement];
  if (from.owner != Owner::file || c.is_partial(from) || table.axis >= 0)
    return "does not gather from a whole table in a file";
  for (const Operand& o : b.reads(s).subspan(1))
    if (c.plan.placements[o.placement].owner == Owner::file || o.axis >= 0)
      return "does not have all of its ids in memory";
  if (rows.axis >= 0) return "gathers only a part";
  const Link& link = c.machine.links[s.link];
  if (link.from != from.tier || link.to != c.plan.placements[rows.placement].tier)
    return "takes a link between other tiers";
  return nullptr;
}

const char* move_fault(const Context& c, u32 body, const Body& b, const Step& s) {
  const Operand &from = b.reads(s)[0], &to = b.writes(s)[0];
  const Placement &src = c.plan.placements[from.placement], &dst = c.plan.placements[to.placement];
  if (src.owner != Owner::file || dst.owner != Owner::plan) return "does not move from a file into memory";
  if (from.value != to.value || !(c.cut_of(body, from) == c.cut_of(body, to)))
    return "moves into rows that are not its own";
  Operand all = to;
  all.axis = -1;
  if (!(c.cut_of(body, to) == c.cut_of(body, all))) return "fills a placement only in part";
  const Link& link = c.machine.links[s.link];
  if (link.from != src.tier || link.to != dst.tier) return "takes a link between other tiers";
  if (b.once) return dst.use == Use::weights ? nullptr : "loads something that is no weight";
  const StreamBlock& block = c.plan.stream[s.block];
  return from.placement == block.from && to.placement == block.to ? nullptr : "is not the move of its stream block";
}

}  // namespace

bool check_operands(Context& c) {
  for (u32 body = 0; body < c.plan.bodies.size(); ++body) {
    const Body& b = c.plan.bodies[body];
    for (u32 i = 0; i < b.steps.size(); ++i) {
      const Step& s = b.steps[i];
      const char* fault = nullptr;
      for (u32 k = 0; k < u32{s.n_reads} + s.n_writes && !fault; ++k) {
        fault = operand_fault(c, body, s, b.operands[s.first_operand + k]);
        if (fault) c.report(Defect::malformed, "{}: operand {} {}", c.label(body, i), k, fault);
      }
      if (fault) continue;
      if (s.node != kNone) fault = node_fault(c, b, s);
      if (!fault && s.gather) fault = gather_fault(c, b, s);
      if (!fault && s.node == kNone) fault = move_fault(c, body, b, s);
      if (fault) c.report(Defect::malformed, "{} {}", c.label(body, i), fault);
    }
  }
  return c.findings.empty();
}

}  // namespace terrace::verifying
