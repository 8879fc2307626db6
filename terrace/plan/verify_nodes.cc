// Nodes: in every repeated body each is computed once and whole, cut along parallel axes only, with scratch enough.
#include <algorithm>

#include "terrace/plan/verify_internal.h"

namespace terrace::verifying {
namespace {

/// The part of its node that a step computes: an axis of the op's iteration space (-1: all of it).
struct Part {
  int axis = -1;
  i64 begin = 0, end = 0;
  u32 step = 0;
};

struct Views {
  TensorView in[kMaxOperands], out[kMaxOperands];
};

/// Cuts of inputs, then outputs.
std::vector<Cut> cuts_of(const Context& c, u32 body, const Step& s) {
  const Body& b = c.plan.bodies[body];
  std::vector<Cut> cuts;
  for (const Operand& o : b.reads(s)) cuts.push_back(c.cut_of(body, o));
  for (const Operand& o : b.writes(s)) cuts.push_back(c.cut_of(body, o));
  return cuts;
}

/// True if the cuts are what [begin, end) of this axis gives.
bool explains(const Axis& axis, const std::vector<Cut>& cuts, i64 extent) {
  if (axis.kind != Axis::parallel) return false;
  Cut first;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    const auto of = axis.of[i];
    if (cuts[i].axis != of) return false;  // -1 on both sides: whole, as it should be
    if (of < 0) continue;
    if (first.axis >= 0 && (first.begin != cuts[i].begin || first.end != cuts[i].end)) return false;
    first = cuts[i];
  }
  const i64 block = std::max<i64>(axis.block, 1);
  return first.axis >= 0 && first.begin % block == 0 && (first.end % block == 0 || first.end == extent);
}

i64 extent_of(const Context& c, u32 body, const Node& n, const Axis& axis) {
  for (std::size_t i = 0; i < n.inputs.size() + n.outputs.size(); ++i) {
    if (axis.of[i] < 0) continue;
    const ValueId v = i < n.inputs.size() ? n.inputs[i] : n.outputs[i - n.inputs.size()];
    return c.graph.value(v).spec.shape[axis.of[i]].at(c.bounds[body]);
  }
  return 0;
}

bool find_part(const Context& c, u32 body, const Step& s, Part& part) {
  const std::vector<Cut> cuts = cuts_of(c, body, s);
  if (std::all_of(cuts.begin(), cuts.end(), [](const Cut& x) { return x.axis < 0; })) return true;
  const Node& n = c.graph.node(s.node);
  for (int a = 0; a < kMaxAxes; ++a) {
    const Axis& axis = n.op->axes[static_cast<std::size_t>(a)];
    if (!explains(axis, cuts, extent_of(c, body, n, axis))) continue;
    const auto cut = std::find_if(cuts.begin(), cuts.end(), [](const Cut& x) { return x.axis >= 0; });
    part.axis = a;
    part.begin = cut->begin;
    part.end = cut->end;
    return true;
  }
  return false;
}

void check_parts(Context& c, u32 body, NodeId n, std::vector<Part>& parts) {
  const std::string what = fmt::format("{}: {} ({})", c.plan.bodies[body].name, c.graph.node(n).op->name,
                                       c.graph.value(c.graph.node(n).outputs[0]).name);
  if (parts.empty()) return c.report(Defect::missing_node, "{} is not computed", what);
  const int axis = parts[0].axis;
  for (const Part& p : parts)
    if (p.axis != axis || (axis < 0 && parts.size() > 1))
      return c.report(Defect::duplicate_node, "{}: steps {} and {} compute the same", what, parts[0].step,
                      parts[1].step);
  if (axis < 0) return;
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
  i64 done = 0;
  for (const Part& p : parts) {
    if (p.begin < done) c.report(Defect::duplicate_node, "{}: step {} computes {} again", what, p.step, p.begin);
    if (p.begin > done) c.report(Defect::missing_node, "{}: [{}, {}) is not computed", what, done, p.begin);
    done = std::max(done, p.end);
  }
  const i64 extent = extent_of(c, body, c.graph.node(n), c.graph.node(n).op->axes[static_cast<std::size_t>(axis)]);
  if (done < extent) c.report(Defect::missing_node, "{}: [{}, {}) is not computed", what, done, extent);
}

void check_scratch(Context& c, u32 body, u32 step) {
  const Body& b = c.plan.bodies[body];
  const Step& s = b.steps[step];
  const Node& n = c.graph.node(s.node);
  Views v;
  auto view = [&](const Operand& o) {
    const TensorView whole = make_view(c.graph.value(o.value).spec, nullptr, c.bounds[body]);
    const Cut cut = c.cut_of(body, o);
    return cut.axis < 0 ? whole : slice(whole, cut.axis, cut.begin, cut.end);
  };
  for (std::size_t i = 0; i < s.n_reads; ++i) v.in[i] = view(b.reads(s)[i]);
  for (std::size_t i = 0; i < s.n_writes; ++i) v.out[i] = view(b.writes(s)[i]);
  const OpInstance op{{v.in, s.n_reads}, {v.out, s.n_writes}, n.attrs, c.bounds[body]};
  const Bytes need = n.op->scratch(op, s.workers);
  if (need.count == 0 && s.scratch == kNone) return;
  if (s.scratch == kNone)
    return c.report(Defect::unaccounted, "{} needs {} bytes of scratch", c.label(body, step), need.count);
  const Placement& p = c.plan.placements[s.scratch];
  if (p.bytes < need)
    c.report(Defect::unaccounted, "{} needs {} bytes of scratch, not {}", c.label(body, step), need.count,
             p.bytes.count);
  if (p.tier != c.machine.units[s.unit].near)
    c.report(Defect::unaccounted, "{}: scratch in another tier", c.label(body, step));
  if (p.offset % 64 != 0) c.report(Defect::misaligned, "{}: scratch at {}", c.label(body, step), p.offset);
}

}  // namespace

void check_nodes(Context& c, u32 body) {
  const Body& b = c.plan.bodies[body];
  std::vector<std::vector<Part>> parts(c.graph.nodes().size());
  for (u32 i = 0; i < b.steps.size(); ++i) {
    const Step& s = b.steps[i];
    if (s.node == kNone) continue;
    Part part;
    part.step = i;
    if (find_part(c, body, s, part))
      parts[s.node].push_back(part);
    else
      c.report(Defect::malformed, "{}: operands are cut as no parallel axis allows", c.label(body, i));
    if (s.kind == StepKind::compute) check_scratch(c, body, i);
  }
  const std::vector<char> needed = c.graph.needed_nodes(b.goals);
  for (NodeId n = 0; n < parts.size(); ++n)
    if (needed[n] || !parts[n].empty()) check_parts(c, body, n, parts[n]);
}

}  // namespace terrace::verifying
