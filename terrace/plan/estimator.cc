#include "terrace/plan/estimator.h"

#include <algorithm>

namespace terrace {
namespace {

/// Cuts `v` to [begin, end) along `axis`; returns the bytes by which its start moves. Unlike slice(), works without
/// data.
u64 cut(TensorView& v, int axis, i64 begin, i64 end) {
  v.dim[axis] = end - begin;
  if (axis == v.rank - 1 && v.layout != Layout::dense) return row_bytes(v.dtype, v.layout, begin);
  return static_cast<u64>(begin * v.stride[axis]);
}

TensorView bind(const Graph& graph, const Plan& plan, const Operand& o, std::span<const i64> symbols,
                std::span<std::byte* const> bases) {
  const Placement& p = plan.placements[o.placement];
  const TensorSpec& spec = graph.value(o.value).spec;
  TensorView v = make_view(spec, nullptr, symbols);
  u64 moved = 0;
  i64 first_row = 0;
  if (p.row_end > p.row_begin) {  // only these rows lie here
    first_row = p.row_begin;
    v.dim[0] = p.row_end - p.row_begin;
  }
  if (o.axis == 0) moved = cut(v, 0, o.begin - first_row, o.end - first_row);
  if (o.axis > 0) moved = cut(v, o.axis, o.begin, o.end);
  if (p.owner == Owner::plan && p.tier < bases.size() && bases[p.tier] != nullptr)
    v.data = bases[p.tier] + p.offset + moved;
  return v;
}

u64 granules(const Plan& plan, const Placement& from) {
  const u64 begin = round_down(from.offset, plan.granule);
  u64 end = round_up(from.offset + from.bytes.count, plan.granule);
  if (from.file < plan.files.size()) end = std::min(end, plan.files[from.file].bytes.count);  // cut short by its end
  return std::max(end, from.offset + from.bytes.count) - begin;
}

StepWork gather_work(const Plan& plan, const Body& body, const Step& step, const StepViews& views) {
  StepWork w;
  const Placement& table = plan.placements[body.reads(step)[0].placement];
  const Placement& ids = plan.placements[body.reads(step)[1].placement];
  const Placement& rows = plan.placements[body.writes(step)[0].placement];
  const u64 n = static_cast<u64>(views.out[0].dim[0]);
  const u64 row = n == 0 ? 0 : packed_bytes(views.out[0]).count / n;
  w.read[table.tier] += Bytes{n * row};
  w.read[ids.tier] += packed_bytes(views.in[1]);
  w.written[rows.tier] += Bytes{n * row};
  // A row that starts anywhere touches (row - 1) / granule + 1 granules on average.
  const bool whole = table.offset % plan.granule == 0 && row % plan.granule == 0;
  w.transferred = Bytes{n * (whole ? row : row - 1 + plan.granule)};
  w.requests = static_cast<int>(n);
  return w;
}

}  // namespace

StepViews bind_step(const Graph& graph, const Plan& plan, const Body& body, const Step& step,
                    std::span<const i64> symbols, std::span<std::byte* const> bases) {
  StepViews v;
  for (const Operand& o : body.reads(step)) v.in[v.n_in++] = bind(graph, plan, o, symbols, bases);
  for (const Operand& o : body.writes(step)) v.out[v.n_out++] = bind(graph, plan, o, symbols, bases);
  return v;
}

StepWork step_work(const Graph& graph, const Plan& plan, const Body& body, const Step& step,
                   std::span<const i64> symbols) {
  StepWork w;
  if (step.kind == StepKind::move && !step.gather) {
    const Placement& from = plan.placements[body.reads(step)[0].placement];
    const Placement& to = plan.placements[body.writes(step)[0].placement];
    w.read[from.tier] += from.bytes;
    w.written[to.tier] += from.bytes;
    w.transferred = Bytes{granules(plan, from)};
    return w;
  }
  const StepViews views = bind_step(graph, plan, body, step, symbols);
  if (step.gather) return gather_work(plan, body, step, views);
  const Node& node = graph.node(step.node);
  const std::span in(views.in, static_cast<std::size_t>(views.n_in));
  const std::span out(views.out, static_cast<std::size_t>(views.n_out));
  const Cost c = node.op->cost({in, out, node.attrs, symbols});
  for (std::size_t i = 0; i < in.size(); ++i) w.read[plan.placements[body.reads(step)[i].placement].tier] += c.read[i];
  for (std::size_t i = 0; i < out.size(); ++i)
    w.written[plan.placements[body.writes(step)[i].placement].tier] += c.write[i];
  w.flops = c.flops;
  i64 rows = 1;
  for (int a = 0; a + 1 < out[0].rank; ++a) rows *= out[0].dim[a];
  w.single_row = rows == 1;
  return w;
}

namespace {

/// Adds joules that may be unknown.
void add(StepEstimate& e, std::optional<double> joules) {
  if (!joules) {
    e.joules.reset();
    return;
  }
  e.known_joules += Joules{*joules};
  if (e.joules) *e.joules += Joules{*joules};
}

}  // namespace

StepEstimate estimate(const Graph& graph, const Machine& machine, const Plan& plan, const Body& body, const Step& step,
                      const StepWork& work) {
  (void)body;
  StepEstimate e;
  e.joules = Joules{};
  const std::size_t tiers = std::min<std::size_t>(machine.tiers.size(), 8);
  for (std::size_t t = 0; t < tiers; ++t)
    if (work.read[t].count + work.written[t].count > 0)
      add(e, access_joules(machine, static_cast<TierId>(t), work.read[t], work.written[t]));
  if (step.kind == StepKind::compute) {
    const OpDef& op = *graph.node(step.node).op;
    Work w;
    w.kernel = plan.kernels[step.kernel];
    w.op = op.name;
    w.op_class = name_of(op.op_class);
    w.flops = work.flops;
    for (std::size_t t = 0; t < tiers; ++t) {
      w.read += work.read[t];
      w.written += work.written[t];
    }
    w.single_row = work.single_row;
    w.threads = step.workers;
    e.seconds = compute_seconds(machine, step.unit, w);
    add(e, compute_joules(machine, step.unit, w));
    return e;
  }
  if (work.requests > 0 && work.transferred.count > 0) {
    const auto n = static_cast<u64>(work.requests);
    const int depth = step.gather ? std::min(plan.io_depth, work.requests) : plan.io_depth;
    e.seconds = move_seconds(machine, step.link, Bytes{work.transferred.count / n}, depth) * static_cast<double>(n);
    if (step.gather) e.seconds = std::max(e.seconds, machine.links[step.link].latency);
  }
  add(e, link_joules(machine, step.link, work.transferred));
  return e;
}

Bound physical_bound(Bytes touched, Bytes kept, Bytes cache_read, double flops, BytesPerSecond slow,
                     BytesPerSecond fast, OpsPerSecond peak) {
  kept = std::min(kept, touched);
  const Bytes streamed = touched - kept;
  Bound b{Seconds{}, "compute"};
  auto consider = [&b](double seconds, const char* by) {
    if (seconds > b.seconds.value) b = {Seconds{seconds}, by};
  };
  if (flops > 0 && peak.value > 0) consider(flops / peak.value, "compute");
  if (fast.value > 0) consider(((touched + cache_read + streamed) / fast).value, "dram");
  if (streamed.count > 0 && slow.value > 0) consider((streamed / slow).value, "disk");
  return b;
}

}  // namespace terrace
