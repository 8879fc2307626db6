// Gives every placement its offset. The arena: ring, region of the bodies, inputs, state, pinned weights.
#include <fmt/format.h>

#include <algorithm>

#include "terrace/plan/planner/draft.h"

namespace terrace::planner {
namespace {

u32 add(Draft& d, const Placement& p) {
  d.plan.placements.push_back(p);
  return static_cast<u32>(d.plan.placements.size() - 1);
}

Placement in_file(const Draft& d, ValueId v, i64 begin, i64 end) {
  const WeightUse& w = d.weights[v];
  Placement p = d.request.weights[w.file];
  p.use = Use::weights;
  p.body = kNone;
  p.row_begin = p.row_end = 0;
  if (begin > 0 || end < w.rows) {
    p.row_begin = begin;
    p.row_end = end;
    p.offset = w.offset + static_cast<u64>(begin) * w.row_bytes;
    p.bytes = Bytes{static_cast<u64>(end - begin) * w.row_bytes};
  }
  return p;
}

/// Where a transfer of `from` goes when its whole granules start at `at`.
Placement in_memory(const Draft& d, const Placement& from, u64 at, Use use) {
  Placement p = from;
  p.tier = d.memory;
  p.owner = Owner::plan;
  p.use = use;
  p.file = kNone;
  p.pad_before = static_cast<u32>(from.offset % d.granule);
  p.offset = at + p.pad_before;
  const u64 end = from.offset + from.bytes.count;
  p.pad_after = static_cast<u32>(round_up(end, d.granule) - end);
  return p;
}

void place_persistent(Draft& d, u64& at) {
  for (const ValueKind kind : {ValueKind::input, ValueKind::state})
    for (ValueId v = 0; v < d.graph.values().size(); ++v) {
      const Value& value = d.graph.value(v);
      if (value.kind != kind) continue;
      Placement p;
      p.value = v;
      p.tier = d.memory;
      p.use = kind == ValueKind::input ? Use::inputs : Use::state;
      p.offset = at;
      p.bytes = value.spec.bytes(d.input_bounds);
      at += round_up(p.bytes.count, 64);
      d.home[v] = add(d, p);
    }
}

void place_region(Draft& d, u64 base) {
  for (u32 b = 0; b < d.regions.size(); ++b) {
    d.body_home.emplace_back(d.graph.values().size(), kNone);
    d.body_scratch.emplace_back(d.graph.nodes().size(), kNone);
    for (const Slot& s : d.regions[b].slots) {
      Placement p;
      p.tier = d.memory;
      p.offset = base + s.offset;
      p.bytes = Bytes{s.bytes};
      p.body = b + 1;  // the load body comes first
      if (s.kind == Slot::value) {
        p.value = s.of;
        d.body_home[b][s.of] = add(d, p);
      } else {
        p.use = s.kind == Slot::scratch ? Use::scratch : Use::staging;
        d.body_scratch[b][s.of] = add(d, p);
      }
    }
    for (const auto& [v, slot] : d.regions[b].overlaid) {
      Placement p = d.plan.placements[d.body_home[b][d.regions[b].slots[slot].of]];
      p.value = v;
      d.body_home[b][v] = add(d, p);
    }
  }
}

void place_weights(Draft& d, u64& at) {
  Body load;
  load.name = "load";
  load.once = true;
  for (i64 max : d.graph.symbol_bounds()) {
    load.symbols.push_back({0, max});
    load.typical.push_back(max);
  }
  std::vector<ValueId> order;
  for (ValueId v = 0; v < d.weights.size(); ++v)
    if (d.weights[v].pinned > 0) order.push_back(v);
  std::sort(order.begin(), order.end(), [&](ValueId a, ValueId b) {
    const WeightUse &x = d.weights[a], &y = d.weights[b];
    return x.offset != y.offset ? x.offset < y.offset : a < b;
  });
  for (ValueId v : order) {
    const Placement from = in_file(d, v, 0, d.weights[v].pinned);
    const Placement to = in_memory(d, from, at, Use::weights);
    at = to.offset + to.bytes.count + to.pad_after;
    const u32 source = add(d, from);
    d.home[v] = add(d, to);
    Step s;
    s.kind = StepKind::move;
    s.lane = Lane::io;
    s.link = d.link;
    s.n_reads = s.n_writes = 1;
    s.first_operand = static_cast<u32>(load.operands.size());
    Operand o{v, source, to.row_begin, to.row_end, static_cast<std::int8_t>(to.row_end > 0 ? 0 : -1)};
    load.operands.push_back(o);
    o.placement = d.home[v];
    load.operands.push_back(o);
    load.steps.push_back(s);
  }
  d.plan.bodies.push_back(std::move(load));
}

/// Whose bytes each block of the ring takes over, walking back until all its bytes are accounted for.
void find_occupants(Draft& d) {
  const auto n = static_cast<u32>(d.plan.stream.size());
  d.occupants.resize(n);
  d.last_time.resize(n);
  auto range = [&](u32 b) {
    const Placement& p = d.plan.placements[d.plan.stream[b].to];
    return std::pair{p.offset - p.pad_before, p.offset + p.bytes.count + p.pad_after};
  };
  for (u32 i = 0; i < n; ++i) {
    std::vector<std::pair<u64, u64>> open{range(i)}, next;
    for (u32 back = 1; back <= n && !open.empty(); ++back) {
      const u32 j = (i + n - back) % n;
      const auto [b, e] = range(j);
      bool hit = false;
      next.clear();
      for (const auto& [ob, oe] : open) {
        if (e <= ob || b >= oe) {
          next.emplace_back(ob, oe);
          continue;
        }
        hit = true;
        if (ob < b) next.emplace_back(ob, b);
        if (e < oe) next.emplace_back(e, oe);
      }
      if (hit) (back <= i ? d.occupants : d.last_time)[i].push_back(j);
      open.swap(next);
    }
  }
}

}  // namespace

void place(Draft& d) {
  Plan& p = d.plan;
  p.machine = d.machine.name;
  p.graph_fingerprint = d.graph.fingerprint();
  for (const Tier& t : d.machine.tiers) p.tiers.push_back(t.id);
  p.budget = d.request.budget;
  p.reserves = d.request.reserves;
  p.files = d.request.files;
  p.kernels = d.kernel_names;
  p.workers = d.request.threads;
  p.io_depth = 8;
  p.granule = d.granule;
  for (const Tier& t : d.machine.tiers)
    if (t.hardware && t.instances >= p.workers) p.core_cache = std::max(p.core_cache, t.capacity);

  d.home.assign(d.graph.values().size(), kNone);
  d.table.assign(d.graph.values().size(), kNone);
  u64 at = d.ring_bytes + d.region_bytes;
  place_region(d, d.ring_bytes);
  place_persistent(d, at);
  at = round_up(at, std::max<u64>(4096, d.granule));
  place_weights(d, at);
  for (const Block& b : d.blocks) {
    const Placement from = in_file(d, b.weight, b.begin, b.end);
    const u32 source = add(d, from);
    p.stream.push_back({source, add(d, in_memory(d, from, b.ring_offset, Use::ring))});
  }
  for (NodeId n = 0; n < d.graph.nodes().size(); ++n)
    if (gathers(d, n)) {
      const ValueId v = d.graph.node(n).inputs[0];
      if (d.table[v] == kNone) d.table[v] = add(d, in_file(d, v, 0, d.weights[v].rows));
    }
  find_occupants(d);
  const u64 arena = round_up(at, 4096);
  p.arenas.push_back({d.memory, Bytes{arena}});
  p.reserves.push_back(
      {"page tables", d.memory, Bytes{page_tables(arena)}, "8 bytes a page of 4 KiB, and 16 KiB of upper levels"});
  p.reserves.push_back(
      {"plan and trace", d.memory, Bytes{plan_bytes(d)}, fmt::format("{} bytes a step", kPlanBytesPerStep)});
}

}  // namespace terrace::planner
