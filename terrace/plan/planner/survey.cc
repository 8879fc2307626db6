// Passes that look at the graph once: request, kernels, weights, lifetimes.
#include <fmt/format.h>

#include <algorithm>

#include "terrace/core/error.h"
#include "terrace/plan/planner/draft.h"

namespace terrace::planner {

void check_request(Draft& d) {
  const auto fail = [](const std::string& what) { throw Error(ErrorKind::usage, what, "plan request"); };
  if (d.graph.nodes().size() > kMaxBodySteps)
    fail(fmt::format("the graph has {} nodes; a plan can have {} steps", d.graph.nodes().size(), kMaxBodySteps));
  if (d.machine.units.empty()) fail("the machine has no unit");
  if (d.request.threads < 1 || d.request.threads > 1024) fail("threads must be in 1..1024");
  const auto bounds = d.graph.symbol_bounds();
  for (const BodyRequest& b : d.request.bodies) {
    if (b.symbols.size() != bounds.size() || b.typical.size() != bounds.size())
      fail(fmt::format("body {} does not give every symbol", b.name));
    for (std::size_t i = 0; i < bounds.size(); ++i)
      if (b.symbols[i].lo < 0 || b.symbols[i].lo > b.symbols[i].hi || b.symbols[i].hi > bounds[i])
        fail(fmt::format("body {}: interval of {} is empty or beyond its bound", b.name, d.graph.symbols()[i].name));
    for (ValueId v : b.goals)
      if (v >= d.graph.values().size()) fail(fmt::format("body {}: no such goal", b.name));
    if (b.chunk != kNoSymbol && (b.chunk < 0 || static_cast<std::size_t>(b.chunk) >= bounds.size()))
      fail(fmt::format("body {}: no such chunk symbol", b.name));
  }
  if (d.request.bodies.empty()) fail("there is no body to plan for");
  d.memory = d.machine.main_memory();
  if (auto t = d.machine.file_tier()) {
    d.file_tier = *t;
    d.granule = static_cast<u32>(std::max<u64>(64, d.machine.tier(*t).granule.count));
    if (auto l = d.machine.find_link(*t, d.memory))
      d.link = *l;
    else
      fail("the machine has no link from " + d.machine.tier(*t).id + " to main memory");
  }
  if (d.machine.tier(d.memory).capacity.count > 0) d.limit = d.machine.tier(d.memory).capacity.count;
  for (const TierBudget& b : d.request.budget)
    if (b.tier == d.memory) d.limit = std::min(d.limit, b.bytes.count);
  for (const Reserve& r : d.request.reserves)
    if (r.tier == d.memory) d.reserved += r.bytes.count;
}

void choose_kernels(Draft& d) {
  for (const Node& n : d.graph.nodes()) {
    std::vector<Format> formats;
    for (const auto* list : {&n.inputs, &n.outputs})
      for (ValueId v : *list) formats.push_back({d.graph.value(v).spec.dtype, d.graph.value(v).spec.layout});
    const Kernel* k = d.kernels.find(n.op->name, formats, d.request.isa);
    if (k == nullptr) {
      std::string list;
      for (const Format& f : formats)
        list += fmt::format("{}{}", list.empty() ? "" : ", ",
                            f.layout == Layout::dense ? name_of(f.dtype) : name_of(f.layout));
      throw Error(ErrorKind::usage,
                  fmt::format("no {} kernel computes {} of ({})", name_of(d.request.isa), n.op->name, list),
                  d.graph.value(n.outputs[0]).name, "convert the weight to a format that has a kernel");
    }
    auto at = std::find(d.kernel_names.begin(), d.kernel_names.end(), k->name);
    d.kernel_of.push_back(static_cast<u32>(at - d.kernel_names.begin()));
    if (at == d.kernel_names.end()) d.kernel_names.push_back(k->name);
  }
}

namespace {

/// The operand of a node that can be cut by rows: a weight that one parallel axis runs over, along its axis 0.
Split split_of(const Graph& g, const Node& n) {
  if (n.op->in_place > 0 || n.op->row_gather) return {};
  for (const Axis& axis : n.op->axes) {
    if (axis.kind != Axis::parallel) continue;
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      const Value& w = g.value(n.inputs[i]);
      if (w.kind != ValueKind::weight || axis.of[i] != 0 || w.spec.shape.rank < 2) continue;
      bool ok = std::count(n.inputs.begin(), n.inputs.end(), n.inputs[i]) == 1;
      for (std::size_t o = 0; o < n.inputs.size() + n.outputs.size(); ++o) {
        const bool input = o < n.inputs.size();
        const TensorSpec& s = g.value(input ? n.inputs[o] : n.outputs[o - n.inputs.size()]).spec;
        if (!input && axis.of[o] < 0) ok = false;  // the whole result from every part
        if (axis.of[o] >= 0 && axis.of[o] == s.shape.rank - 1 && s.layout != Layout::dense) ok = false;
      }
      if (ok) return {static_cast<int>(i), &axis};
    }
  }
  return {};
}

void locate_weights(Draft& d) {
  for (u32 i = 0; i < d.request.weights.size(); ++i) {
    const Placement& p = d.request.weights[i];
    if (p.value >= d.weights.size()) throw Error(ErrorKind::usage, "a weight's place names no value", "plan request");
    WeightUse& w = d.weights[p.value];
    const TensorSpec& s = d.graph.value(p.value).spec;
    w.file = i;
    w.offset = p.offset;
    w.bytes = p.bytes.count;
    w.rows = s.shape[0].value;
    w.row_bytes = w.rows > 0 ? w.bytes / static_cast<u64>(w.rows) : w.bytes;
    if (p.tier != d.file_tier || w.bytes != s.bytes({}).count)
      throw Error(ErrorKind::usage, "a weight's place does not fit its size or the machine's file tier",
                  d.graph.value(p.value).name);
  }
}

}  // namespace

void survey_weights(Draft& d) {
  const Graph& g = d.graph;
  d.weights.resize(g.values().size());
  d.splits.resize(g.nodes().size());
  d.can_gather.resize(g.nodes().size());
  locate_weights(d);
  for (NodeId n = 0; n < g.nodes().size(); ++n) {
    const Node& node = g.node(n);
    d.splits[n] = split_of(g, node);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (g.value(node.inputs[i]).kind != ValueKind::weight) continue;
      WeightUse& w = d.weights[node.inputs[i]];
      if (w.file == kNone) throw Error(ErrorKind::usage, "no file holds this weight", g.value(node.inputs[i]).name);
      if (node.op->row_gather && i == 0 && g.value(node.inputs[1]).kind == ValueKind::input &&
          g.value(node.outputs[0]).alias_of == kNone) {
        d.can_gather[n] = 1;
        w.gathered = true;
        continue;
      }
      ++w.passes;
      if (d.splits[n].operand != static_cast<int>(i)) {
        w.whole = true;
        continue;
      }
      i64 unit = d.splits[n].axis->block * 16;
      while (unit > d.splits[n].axis->block && static_cast<u64>(unit) * w.row_bytes > (256u << 10)) unit /= 2;
      w.unit = std::max(w.unit, unit);
    }
  }
  for (ValueId v : g.outputs())
    if (g.value(v).kind == ValueKind::weight) d.weights[v].whole = true;
}

void survey_lifetimes(Draft& d) {
  const Graph& g = d.graph;
  const auto bounds = g.symbol_bounds();
  const auto end = static_cast<u32>(g.nodes().size());
  for (const BodyRequest& body : d.request.bodies) {
    const std::vector<char>& computed = d.computed.emplace_back(g.needed_nodes(body.goals));
    std::vector<u32>& last = d.last_use.emplace_back(g.values().size(), 0);
    for (NodeId n = 0; n < end; ++n) {
      if (!computed[n]) continue;
      for (ValueId v : g.node(n).inputs) last[v] = n;
      for (ValueId v : g.node(n).outputs) last[v] = n;
    }
    for (ValueId v : g.outputs()) last[v] = end;
  }
  for (const Value& v : g.values())
    if (v.kind == ValueKind::state) d.state_bytes += round_up(v.spec.bytes(bounds).count, 64);
}

bool gathers(const Draft& d, NodeId n) {
  if (!d.can_gather[n] || d.mode == Mode::resident) return false;
  const WeightUse& w = d.weights[d.graph.node(n).inputs[0]];
  if (w.whole) return false;
  return d.mode == Mode::streamed || w.passes == 0;
}

namespace {
struct Views {
  TensorView in[kMaxOperands], out[kMaxOperands];
  OpInstance instance;
  Views(const Graph& g, const Node& n, std::span<const i64> symbols)
      : instance{{in, n.inputs.size()}, {out, n.outputs.size()}, n.attrs, symbols} {
    for (std::size_t i = 0; i < n.inputs.size(); ++i) in[i] = make_view(g.value(n.inputs[i]).spec, nullptr, symbols);
    for (std::size_t i = 0; i < n.outputs.size(); ++i) out[i] = make_view(g.value(n.outputs[i]).spec, nullptr, symbols);
  }
};
}  // namespace

Cost node_cost(const Graph& g, const Node& n, std::span<const i64> symbols) {
  return n.op->cost(Views(g, n, symbols).instance);
}
u64 node_scratch(const Graph& g, const Node& n, std::span<const i64> symbols, int workers) {
  return n.op->scratch(Views(g, n, symbols).instance, workers).count;
}

Seconds node_seconds(const Draft& d, NodeId n, std::span<const i64> symbols, int workers) {
  const Node& node = d.graph.node(n);
  const Cost c = node_cost(d.graph, node, symbols);
  Work w;
  w.kernel = d.kernel_names[d.kernel_of[n]];
  w.op = node.op->name;
  w.op_class = name_of(node.op->op_class);
  w.flops = c.flops;
  w.read = c.total_read();
  w.written = c.total_write();
  w.single_row = d.graph.value(node.outputs[0]).spec.rows(symbols) == 1;
  w.threads = workers;
  return compute_seconds(d.machine, d.unit, w);
}

int node_workers(const Draft& d, NodeId n, std::span<const i64> typical) {
  if (d.request.threads == 1) return 1;
  const Seconds overhead = d.machine.units[d.unit].step_overhead;
  return node_seconds(d, n, typical, 1) - overhead < overhead * 1.5 ? 1 : d.request.threads;
}

}  // namespace terrace::planner
