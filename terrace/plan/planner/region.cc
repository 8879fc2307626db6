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

void collect(const Draft& d, std::size_t body, const BodySizes& sizes, std::vector<Slot>& slots) {
  const Graph& g = d.graph;
  for (NodeId n = 0; n < g.nodes().size(); ++n) {
    if (!d.computed[body][n]) continue;
    const Node& node = g.node(n);
    for (ValueId v : node.outputs)
      if (g.value(v).alias_of == kNone)
        slots.push_back({Slot::value, v, n, d.last_use[body][v], std::max<u64>(1, g.value(v).spec.bytes(sizes.hi).count), 0});
    if (gathers(d, n)) {
      const TensorSpec& s = g.value(node.outputs[0]).spec;
      const u64 row = row_bytes(s.dtype, s.layout, s.columns(sizes.hi));
      const u64 slot = round_up(row, d.granule) + d.granule;
      slots.push_back({Slot::staging, n, n, n, std::max<u64>(1, slot * static_cast<u64>(s.rows(sizes.hi))), 0});
    } else if (const u64 b = node_scratch(g, node, sizes.hi, node_workers(d, n, sizes.typical)); b > 0) {
      slots.push_back({Slot::scratch, n, n, n, b, 0});
    }
  }
}

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
  collect(d, body, sizes, r.slots);
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
