// Which rows stay in memory and which travel through the ring. Reads of what is streamed are hidden by compute on what
// is pinned, so rows are pinned evenly over the order of use (Belady's choice for a cyclic scan is any fixed set).
#include <algorithm>
#include <functional>

#include "terrace/plan/planner/draft.h"

namespace terrace::planner {
namespace {

u64 align_of(const Draft& d) { return std::max<u64>(4096, d.granule); }
bool used(const WeightUse& w) { return w.passes > 0 || w.gathered || w.whole; }
bool stays_in_file(const WeightUse& w) { return w.gathered && w.passes == 0 && !w.whole; }
bool can_stream(const WeightUse& w) { return w.passes > 0 && !w.whole; }

u64 pin_cost(const Draft& d, const WeightUse& w, i64 rows) {
  return rows == 0 ? 0 : footprint(w.offset, static_cast<u64>(rows) * w.row_bytes, d.granule);
}

struct RingSizes {
  u64 min_slot = 0, slot = 0;  ///< smallest that any weight allows; the one preferred
  u64 total = 0;               ///< bytes that could be streamed
};

RingSizes ring_sizes(const Draft& d) {
  RingSizes r;
  u64 need = 0;
  for (const WeightUse& w : d.weights) {
    if (!can_stream(w)) continue;
    r.total += w.bytes;
    need = std::max(need, static_cast<u64>(std::min(w.unit, w.rows)) * w.row_bytes + 2 * d.granule);
  }
  const u64 a = align_of(d), total = r.total;
  // More than a thousand blocks would make the plan itself heavy; blocks below 128 KiB read slowly.
  const u64 low = std::clamp<u64>(total / 1024, std::min<u64>(128 << 10, total / 16), 1 << 20);
  r.min_slot = round_up(std::max(need, low), a);
  const u64 wish = total < (u64{1} << 30) ? u64{1} << 20 : u64{2} << 20;
  r.slot = std::max(r.min_slot, round_down(std::min(wish, total / 16), a));
  if (d.request.ring_slot_bytes > 0) r.min_slot = r.slot = round_up(std::max(need, d.request.ring_slot_bytes), a);
  return r;
}

int least_slots(const Draft& d) { return std::max(2, d.request.ring_slots); }

/// Rows of each nearly equal block of `rows` rows that fits a slot.
i64 block_rows(const Draft& d, const WeightUse& w, i64 rows) {
  const i64 most = static_cast<i64>((d.slot_bytes - 2 * d.granule) / std::max<u64>(1, w.row_bytes));
  const i64 fit = std::max(std::min(w.unit, w.rows), most / w.unit * w.unit);
  const i64 count = (rows + fit - 1) / fit;
  return std::min(fit, (rows + count * w.unit - 1) / (count * w.unit) * w.unit);
}

/// Weights that may be streamed, in order of first use.
std::vector<ValueId> streamables(const Draft& d) {
  std::vector<ValueId> list;
  std::vector<std::uint8_t> seen(d.weights.size());
  for (const Node& n : d.graph.nodes())
    for (ValueId v : n.inputs)
      if (can_stream(d.weights[v]) && !seen[v]) {
        seen[v] = 1;
        list.push_back(v);
      }
  return list;
}

/// Pins rows while `left` bytes last.
class Pinning {
 public:
  Pinning(Draft& d, u64 left) : d_(d), left_(left), list_(streamables(d)) {}

  void run() {
    small_first();
    often_first();
    evenly();
    for (ValueId v : list_) {  // what rounding left over: whole blocks, then rows
      WeightUse& w = d_.weights[v];
      while (w.pinned < w.rows && extend(w, std::min(w.rows, w.pinned + block_rows(d_, w, w.rows)))) {}
    }
    for (ValueId v : list_) carve(d_.weights[v]);
  }

 private:
  bool extend(WeightUse& w, i64 rows) {
    const u64 more = pin_cost(d_, w, rows) - pin_cost(d_, w, w.pinned);
    if (more > left_) return false;
    left_ -= more;
    w.pinned = rows;
    return true;
  }

  /// Small weights make small, slow transfers.
  void small_first() {
    auto order = list_;
    std::stable_sort(order.begin(), order.end(),
                     [&](ValueId a, ValueId b) { return d_.weights[a].bytes < d_.weights[b].bytes; });
    for (ValueId v : order)
      if (d_.weights[v].bytes < std::min<u64>(128 << 10, d_.slot_bytes / 4)) extend(d_.weights[v], d_.weights[v].rows);
  }

  /// A byte that is read k times in a repetition saves k transfers.
  void often_first() {
    auto order = list_;
    std::stable_sort(order.begin(), order.end(),
                     [&](ValueId a, ValueId b) { return d_.weights[a].passes > d_.weights[b].passes; });
    for (ValueId v : order) {
      if (d_.weights[v].passes < 2) break;
      carve(d_.weights[v]);
    }
  }

  void evenly() {
    double total = 0;
    for (ValueId v : list_) total += static_cast<double>(rest(d_.weights[v]));
    if (total <= 0) return;
    const double share = static_cast<double>(left_) / total;
    double owed = 0;
    for (ValueId v : list_) {
      WeightUse& w = d_.weights[v];
      const i64 step = block_rows(d_, w, w.rows);
      for (i64 at = w.pinned; at < w.rows; at += step) {
        const auto size = static_cast<double>(std::min(step, w.rows - at)) * static_cast<double>(w.row_bytes);
        owed += share * size;
        if (owed >= size / 2 && extend(w, std::min(w.rows, w.pinned + step))) owed -= size;
      }
    }
  }

  /// As many more rows as fit, if that is worth a step of its own.
  void carve(WeightUse& w) {
    if (w.pinned == w.rows) return;
    i64 units = (w.rows - w.pinned + w.unit - 1) / w.unit;
    units = std::min(units, static_cast<i64>(left_ / std::max<u64>(1, static_cast<u64>(w.unit) * w.row_bytes)) + 1);
    for (; units > 0; --units) {
      const i64 rows = std::min(w.rows, w.pinned + units * w.unit);
      if (rows < w.rows && static_cast<u64>(rows - w.pinned) * w.row_bytes < std::min<u64>(16 << 10, d_.slot_bytes / 8))
        return;
      if (extend(w, rows)) return;
    }
  }

  u64 rest(const WeightUse& w) const { return static_cast<u64>(w.rows - w.pinned) * w.row_bytes; }

  Draft& d_;
  u64 left_;
  std::vector<ValueId> list_;
};

/// Row blocks of everything not pinned, in order of use, laid one after the other round the ring.
void lay_blocks(Draft& d) {
  const u64 a = align_of(d);
  u64 cursor = 0, end = 0;
  for (NodeId n = 0; n < d.graph.nodes().size(); ++n) {
    if (d.splits[n].operand < 0) continue;
    const ValueId v = d.graph.node(n).inputs[static_cast<std::size_t>(d.splits[n].operand)];
    const WeightUse& w = d.weights[v];
    if (w.pinned == w.rows) continue;
    const i64 step = block_rows(d, w, w.rows - w.pinned);
    for (i64 r = w.pinned; r < w.rows; r += step) {
      Block b{n, v, r, std::min(w.rows, r + step), 0};
      const u64 size =
          footprint(w.offset + static_cast<u64>(r) * w.row_bytes, static_cast<u64>(b.end - r) * w.row_bytes, d.granule);
      if (cursor + size > d.ring_bytes) cursor = 0;
      b.ring_offset = cursor;
      cursor = round_up(cursor + size, a);
      end = std::max(end, cursor);
      d.blocks.push_back(b);
    }
  }
  d.ring_bytes = std::min(d.ring_bytes, end);
}

u64 fixed_pins(const Draft& d) {
  u64 sum = 0;
  for (const WeightUse& w : d.weights) {
    const bool pin = d.mode == Mode::resident ? used(w)
                     : d.mode == Mode::tables ? used(w) && !stays_in_file(w)
                                              : w.whole;
    if (pin) sum += pin_cost(d, w, w.rows);
  }
  return sum;
}

}  // namespace

u64 least_residency(const Draft& d) {
  u64 ring = 0;
  if (d.mode == Mode::streamed)
    if (const RingSizes r = ring_sizes(d); r.total > 0) ring = r.min_slot * static_cast<u64>(least_slots(d));
  return ring + fixed_pins(d);
}

bool choose_residency(Draft& d, u64 room) {
  d.blocks.clear();
  d.ring_bytes = d.slot_bytes = 0;
  const u64 fixed = fixed_pins(d);
  if (fixed > room) return false;
  for (WeightUse& w : d.weights) {
    const bool pin = d.mode == Mode::resident ? used(w)
                     : d.mode == Mode::tables ? used(w) && !stays_in_file(w)
                                              : w.whole;
    w.pinned = pin ? w.rows : 0;
  }
  if (d.mode != Mode::streamed) return true;
  const RingSizes r = ring_sizes(d);
  if (r.total == 0) return true;
  const u64 left = room - fixed, a = align_of(d);
  const u64 least = r.min_slot * static_cast<u64>(least_slots(d));
  if (left < least) return false;
  // A ring of four slots; less where memory is scarce, or where so little is streamed that the ring itself would be
  // most of it.
  const u64 wish = d.request.ring_slots > 0 ? least : 4 * r.slot;
  const u64 missing = r.total > left ? r.total - left : 0;
  d.ring_bytes =
      std::min({wish, std::max(least, round_down(missing / 2, a)), std::max(least, round_down(left / 4, a))});
  d.slot_bytes = std::min(r.slot, std::max(r.min_slot, round_down(d.ring_bytes / 4, a)));
  Pinning(d, left - d.ring_bytes).run();
  lay_blocks(d);
  return true;
}

}  // namespace terrace::planner
