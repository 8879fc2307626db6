// Activations, scratch and staging: packed by size into one region that all bodies share, since they never run at once.
#include <algorithm>

#include "terrace/plan/planner/draft.h"

namespace terrace::planner {

int max_halvings(const Draft& d) {
  int most = 0;
  for (const BodyRequest& b : d.request.bodies) {
    if (b.chunk == kNoSymbol) continue;
    int n = 0;
    for (i64 hi = b.symbols[static_cast<std::size_t>(b.chunk)].hi; hi > 1; hi = (hi + 1) / 2) ++n;
    most = std::max(most, n);
  }
  return most;
}

BodySizes sizes_at(const Draft&, const BodyRequest& body, int halvings) {
  BodySizes s{body.symbols, {}, body.typical};
  if (body.chunk != kNoSymbol) {
    const auto c = static_cast<std::size_t>(body.chunk);
    i64 hi = s.intervals[c].hi;
    for (int i = 0; i < halvings && hi > 1; ++i) hi = (hi + 1) / 2;
    s.intervals[c].hi = std::max({hi, s.intervals[c].lo, i64{1}});
  }
  for (std::size_t i = 0; i < s.intervals.size(); ++i) {
    s.hi.push_back(s.intervals[i].hi);
    s.typical[i] = std::clamp(s.typical[i], s.intervals[i].lo, s.intervals[i].hi);
  }
  return s;
}

namespace {

/// Finds slots, and for values that take over the bytes of another the slot of that one.
class Collector {
 public:
  Collector(const Draft& d, std::size_t body, const BodySizes& sizes, Region& region)
      : d_(d), body_(body), sizes_(sizes), r_(region), slot_of_(d.graph.values().size(), kNone) {}

  void run() {
    const Graph& g = d_.graph;
    for (NodeId n = 0; n < g.nodes().size(); ++n) {
      if (!d_.computed[body_][n]) continue;
      const Node& node = g.node(n);
      for (std::size_t i = 0; i < node.outputs.size(); ++i)
        if (g.value(node.outputs[i]).alias_of == kNone) place(n, node.outputs[i], i == 0 ? dying(n) : kNone);
      if (gathers(d_, n)) {
        const TensorSpec& s = g.value(node.outputs[0]).spec;
        const u64 row = row_bytes(s.dtype, s.layout, s.columns(sizes_.hi));
        const u64 slot = round_up(row, d_.granule) + d_.granule;
        r_.slots.push_back({Slot::staging, n, n, n, std::max<u64>(1, slot * static_cast<u64>(s.rows(sizes_.hi))), 0});
      } else if (const u64 b = node_scratch(g, node, sizes_.hi, node_workers(d_, n, sizes_.typical)); b > 0) {
        r_.slots.push_back({Slot::scratch, n, n, n, b, 0});
      }
    }
  }

 private:
  void place(NodeId n, ValueId v, ValueId taken) {
    if (taken != kNone) {
      slot_of_[v] = slot_of_[taken];
      r_.slots[slot_of_[v]].death = d_.last_use[body_][v];
      r_.overlaid.emplace_back(v, slot_of_[v]);
      return;
    }
    slot_of_[v] = static_cast<u32>(r_.slots.size());
    const u64 bytes = std::max<u64>(1, d_.graph.value(v).spec.bytes(sizes_.hi).count);
    r_.slots.push_back({Slot::value, v, n, d_.last_use[body_][v], bytes, 0});
  }

  /// An input of node n whose bytes its first output may take over; kNone if there is none.
  ValueId dying(NodeId n) const {
    const Graph& g = d_.graph;
    const Node& node = g.node(n);
    if (node.op->overlay == 0 || gathers(d_, n)) return kNone;
    for (ValueId u : node.inputs)  // a node that is cut to pieces of a weight is several steps
      if (g.value(u).kind == ValueKind::weight) return kNone;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId u = node.inputs[i];
      if (!(node.op->overlay >> i & 1) || slot_of_[u] == kNone || d_.last_use[body_][u] != n) continue;
      if (gathers(d_, g.value(u).producer) || !(g.value(u).spec == g.value(node.outputs[0]).spec)) continue;
      bool only_there = true;
      for (std::size_t k = 0; k < node.inputs.size(); ++k)
        only_there = only_there && (node.inputs[k] != u || (node.op->overlay >> k & 1));
      if (only_there) return u;
    }
    return kNone;
  }

  const Draft& d_;
  std::size_t body_;
  const BodySizes& sizes_;
  Region& r_;
  std::vector<u32> slot_of_;  // by value; the newest in a slot has it
};

/// For each node, the slots placed so far that are live there.
class LiveTable {
 public:
  LiveTable(const std::vector<Slot>& slots, u32 nodes) : begin_(nodes + 2), used_(nodes + 1) {
    for (const Slot& s : slots)
      for (u32 n = s.birth; n <= s.death; ++n) ++begin_[n + 1];
    for (u32 n = 0; n <= nodes; ++n) begin_[n + 1] += begin_[n];
    list_.resize(begin_[nodes + 1]);
  }
  void add(u32 slot, const Slot& s) {
    for (u32 n = s.birth; n <= s.death; ++n) list_[begin_[n] + used_[n]++] = slot;
  }
  std::span<const u32> at(u32 n) const { return {list_.data() + begin_[n], used_[n]}; }

 private:
  std::vector<u32> begin_, used_, list_;
};

/// The lowest smallest gap between placed slots that holds `bytes` (best fit).
u64 best_gap(std::vector<std::pair<u64, u64>>& taken, u64 bytes, u64 align) {
  std::sort(taken.begin(), taken.end());
  u64 best = ~u64{0}, best_size = ~u64{0}, end = 0;
  for (const auto& [b, e] : taken) {
    const u64 at = round_up(end, align);
    if (b >= at + bytes && b - at < best_size) best = at, best_size = b - at;
    end = std::max(end, e);
  }
  return best != ~u64{0} ? best : round_up(end, align);
}

}  // namespace

Region pack_region(const Draft& d, std::size_t body, const BodySizes& sizes) {
  Region r;
  Collector(d, body, sizes, r).run();
  const auto nodes = static_cast<u32>(d.graph.nodes().size());
  std::vector<u64> live(nodes + 1);
  for (const Slot& s : r.slots)
    for (u32 n = s.birth; n <= s.death; ++n) live[n] += round_up(s.bytes, 64);
  for (u64 b : live) r.lower_bound = std::max(r.lower_bound, b);

  std::vector<u32> order(r.slots.size());
  for (u32 i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](u32 a, u32 b) {
    const Slot &x = r.slots[a], &y = r.slots[b];
    return x.bytes != y.bytes ? x.bytes > y.bytes : a < b;
  });
  LiveTable table(r.slots, nodes);
  std::vector<u32> stamp(r.slots.size(), kNone);
  std::vector<std::pair<u64, u64>> taken;
  for (u32 i : order) {
    Slot& s = r.slots[i];
    taken.clear();
    for (u32 n = s.birth; n <= s.death; ++n)
      for (u32 o : table.at(n)) {
        if (stamp[o] == i) continue;
        stamp[o] = i;
        taken.emplace_back(r.slots[o].offset, r.slots[o].offset + r.slots[o].bytes);
      }
    // Staging takes transfers of whole granules.
    s.offset = best_gap(taken, s.bytes, s.kind == Slot::staging ? std::max(d.granule, 64u) : 64);
    table.add(i, s);
    r.bytes = std::max(r.bytes, round_up(s.offset + s.bytes, 64));
  }
  return r;
}

}  // namespace terrace::planner
