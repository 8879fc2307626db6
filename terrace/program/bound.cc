#include "terrace/program/bound.h"

#include <algorithm>
#include <vector>

namespace terrace {

GraphWork graph_work(const Graph& graph, std::span<const i64> symbols) {
  GraphWork w;
  std::vector<Bytes> touched(graph.values().size());
  for (const Node& node : graph.nodes()) {
    TensorView in[kMaxOperands], out[kMaxOperands];
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      in[i] = make_view(graph.value(node.inputs[i]).spec, nullptr, symbols);
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      out[i] = make_view(graph.value(node.outputs[i]).spec, nullptr, symbols);
    const Cost c = node.op->cost({{in, node.inputs.size()}, {out, node.outputs.size()}, node.attrs, symbols});
    w.flops += c.flops;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      const ValueKind kind = graph.value(graph.root_of(v)).kind;
      if (kind == ValueKind::weight) touched[v] = std::max(touched[v], c.read[i]);
      if (kind == ValueKind::state) w.state_read += c.read[i];
    }
  }
  for (Bytes b : touched) w.weights += b;
  return w;
}

Bytes state_bytes(const Graph& graph) {
  Bytes b;
  const std::vector<i64> bounds = graph.symbol_bounds();
  for (const Value& v : graph.values())
    if (v.kind == ValueKind::state) b += v.spec.bytes(bounds);
  return b;
}

BoundRates rates_of(const Machine& machine, int threads) {
  BoundRates r;
  const TierId memory = machine.main_memory();
  r.dram = tier_read_rate(machine, memory, threads);
  r.disk = r.dram;  // a machine without a file tier has everything in memory
  if (const auto file = machine.file_tier())
    if (const auto link = machine.find_link(*file, memory)) {
      r.disk = machine.links[*link].rate;
      for (const LinkRate& l : machine.links[*link].rates) r.disk = std::max(r.disk, l.rate);
    }
  for (const UnitRate& u : machine.units.at(0).rates) r.peak = std::max(r.peak, u.peak);
  return r;
}

Bound bound_of(const GraphWork& work, Bytes all_weights, Bytes state, std::optional<Bytes> budget,
               const BoundRates& rates) {
  Bytes kept = work.weights;
  if (budget) {
    const Bytes fixed = state + (all_weights < 1_GiB ? 12_MiB : 32_MiB);
    kept = *budget > fixed ? std::min(work.weights, *budget - fixed) : Bytes{};
  }
  return physical_bound(work.weights, kept, work.state_read, work.flops, rates.disk, rates.dram, rates.peak);
}

}  // namespace terrace
