// Memory: budgets, arenas, true places in files, sizes, placements that share bytes, transfers in whole granules.
#include <algorithm>

#include "terrace/plan/verify_internal.h"

namespace terrace::verifying {
namespace {

constexpr u64 kNoLimit = ~u64{0};
u64 add(u64 a, u64 b) { return a > kNoLimit - b ? kNoLimit : a + b; }

void check_budget(Context& c) {
  for (u32 t = 0; t < c.machine.tiers.size(); ++t) {
    u64 used = 0, limit = kNoLimit;
    for (const Arena& a : c.plan.arenas)
      if (a.tier == t) used = add(used, a.bytes.count);
    for (const Reserve& r : c.plan.reserves)
      if (r.tier == t) used = add(used, r.bytes.count);
    for (const TierBudget& b : c.plan.budget)
      if (b.tier == t) limit = std::min(limit, b.bytes.count);
    if (used > limit)
      c.report(Defect::over_budget, "{} bytes of {}, whose budget is {}", used, c.machine.tiers[t].id, limit);
    const u64 capacity = c.machine.tiers[t].capacity.count;
    if (used > 0 && used > capacity)
      c.report(Defect::over_budget, "{} bytes of {}, which has {}", used, c.machine.tiers[t].id, capacity);
  }
}

bool inside(const Placement& p, u64 end) {
  return p.offset <= end && p.bytes.count <= end - p.offset && p.pad_before <= p.offset &&
         p.pad_after <= end - p.offset - p.bytes.count;
}

void check_place(Context& c, u32 i) {
  const Placement& p = c.plan.placements[i];
  if (p.owner == Owner::plan) {
    u64 arena = 0;
    for (const Arena& a : c.plan.arenas)
      if (a.tier == p.tier) arena = a.bytes.count;
    if (!inside(p, arena)) c.report(Defect::outside_arena, "placement {} leaves its arena of {} bytes", i, arena);
    return;
  }
  const Placement* truth = c.true_place[p.value];
  if (!inside(p, c.plan.files[p.file].bytes.count))
    return c.report(Defect::outside_arena, "placement {} leaves its file of {} bytes", i,
                    c.plan.files[p.file].bytes.count);
  if (!truth)
    return c.report(Defect::outside_arena, "placement {}: no file is known to hold '{}'", i,
                    c.graph.value(p.value).name);
  const u64 at = truth->offset + c.slab_bytes(p.value, c.widest) * static_cast<u64>(p.row_begin);
  if (p.file != truth->file || p.tier != truth->tier || p.offset != at)
    c.report(Defect::outside_arena, "{} is at {} of file {} in truth", c.label(i), at, truth->file);
}

void check_size(Context& c, u32 i) {
  const Placement& p = c.plan.placements[i];
  if (p.value == kNone) return;
  const Bytes need = c.needed_bytes(p);
  const bool exact = p.use == Use::weights || p.use == Use::ring;  // what is transferred is the payload
  if (p.bytes < need || (exact && p.bytes != need))
    c.report(Defect::unaccounted, "{} needs {} bytes", c.label(i), need.count);
  if (exact || p.owner == Owner::file) return;
  const TensorSpec& s = c.graph.value(p.value).spec;
  const u64 align = s.layout == Layout::dense || s.layout == Layout::q8a ? row_bytes(s.dtype, Layout::dense, 1) : 2;
  if (p.offset % align != 0) c.report(Defect::misaligned, "{} cuts elements of {} bytes", c.label(i), align);
}

/// State, inputs, pinned weights and the ring live for ever: their bytes are used in every repetition.
void check_persistence(Context& c, u32 i) {
  const Placement& p = c.plan.placements[i];
  if (p.owner == Owner::file || p.body == kNone) return;
  if (p.use == Use::state || p.use == Use::inputs || p.use == Use::weights || p.use == Use::ring)
    c.report(Defect::wrong_repetition, "{} does not outlive its body", c.label(i));
}

bool may_share(const Context& c, const Placement& a, const Placement& b) {
  if (a.use == Use::ring && b.use == Use::ring) return true;  // one after the other; check_order looks
  if (a.body == kNone || b.body == kNone) return false;
  return a.body != b.body || a.death < b.birth || b.death < a.birth || c.takes_over(a, b) || c.takes_over(b, a);
}

void check_overlaps(Context& c) {
  const auto& places = c.plan.placements;
  std::vector<u32> sorted, active;
  for (u32 i = 0; i < places.size(); ++i)
    if (places[i].owner == Owner::plan && places[i].bytes.count > 0) sorted.push_back(i);
  std::sort(sorted.begin(), sorted.end(), [&](u32 a, u32 b) {
    return std::pair(places[a].tier, c.reserved(places[a]).lo) < std::pair(places[b].tier, c.reserved(places[b]).lo);
  });
  for (u32 i : sorted) {
    const Placement& p = places[i];
    std::erase_if(active,
                  [&](u32 k) { return places[k].tier != p.tier || c.reserved(places[k]).hi <= c.reserved(p).lo; });
    for (u32 k : active)
      if (!may_share(c, places[k], p)) c.report(Defect::overlap, "{} shares bytes with {}", c.label(k), c.label(i));
    active.push_back(i);
  }
}

/// An arena is as large as what lies in it, but for alignment: memory that nothing is placed in was taken for nothing.
void check_gaps(Context& c) {
  for (const Arena& a : c.plan.arenas) {
    std::vector<Range> used;
    for (const Placement& p : c.plan.placements)
      if (p.owner == Owner::plan && p.tier == a.tier) used.push_back(c.reserved(p));
    std::sort(used.begin(), used.end(), [](const Range& x, const Range& y) { return x.lo < y.lo; });
    u64 end = 0, gaps = 0;
    for (const Range& r : used) {
      if (r.lo > end) gaps += r.lo - end;
      end = std::max(end, r.hi);
    }
    gaps += a.bytes.count - std::min(end, a.bytes.count);
    const u64 alignment = std::max<u64>(4096, c.plan.granule) * (used.size() + 1);
    if (gaps > alignment)
      c.report(Defect::unaccounted, "{} bytes of the arena in {} hold nothing", gaps, c.machine.tiers[a.tier].id);
  }
}

/// Room for whole granules around `bytes` of a file from `at` on, at a place that agrees with them modulo the granule.
void check_granules(Context& c, u32 body, u32 step, u64 at, const Placement& to) {
  const u64 g = c.plan.granule, end = at + to.bytes.count;
  if (to.offset % g != at % g)
    c.report(Defect::misaligned, "{}: byte {} of the file goes to {}", c.label(body, step), at, to.offset);
  else if (to.pad_before < at % g || to.pad_after < round_up(end, g) - end)
    c.report(Defect::misaligned, "{}: no room for whole granules around its bytes", c.label(body, step));
}

void check_gather(Context& c, u32 body, u32 step) {
  const Body& b = c.plan.bodies[body];
  const Step& s = b.steps[step];
  const Operand &table = b.reads(s)[0], &rows = b.writes(s)[0];
  const u64 g = c.plan.granule;
  const u64 slot = round_up(c.slab_bytes(table.value, c.widest), g) + g;
  const auto n = static_cast<u64>(c.graph.value(rows.value).spec.shape[0].at(c.bounds[body]));
  if (s.scratch == kNone) return c.report(Defect::unaccounted, "{} has no staging", c.label(body, step));
  const Placement& p = c.plan.placements[s.scratch];
  if (p.bytes.count / slot < n)
    c.report(Defect::unaccounted, "{} stages {} rows of {} bytes in {}", c.label(body, step), n, slot, p.bytes.count);
  if (p.offset % g != 0) c.report(Defect::misaligned, "{}: staging at {}", c.label(body, step), p.offset);
  if (p.tier != c.machine.links[s.link].to)
    c.report(Defect::unaccounted, "{}: staging in another tier", c.label(body, step));
}

}  // namespace

void check_memory(Context& c) {
  check_budget(c);
  for (u32 i = 0; i < c.plan.placements.size(); ++i) {
    check_place(c, i);
    check_size(c, i);
    check_persistence(c, i);
  }
  const int outside = c.count[static_cast<std::size_t>(Defect::outside_arena)];
  if (outside > 0) return;
  check_overlaps(c);
  check_gaps(c);
}

void check_transfers(Context& c) {
  for (u32 body = 0; body < c.plan.bodies.size(); ++body) {
    const Body& b = c.plan.bodies[body];
    for (u32 i = 0; i < b.steps.size(); ++i) {
      const Step& s = b.steps[i];
      if (s.kind != StepKind::move) continue;
      const Placement& from = c.plan.placements[b.reads(s)[0].placement];
      const u64 need = c.machine.tier(from.tier).granule.count;
      if (need > 1 && c.plan.granule % need != 0)
        return c.report(Defect::misaligned, "transfers in {} bytes from {}, whose granule is {}", c.plan.granule,
                        c.machine.tier(from.tier).id, need);
      if (s.gather) {
        check_gather(c, body, i);
        continue;
      }
      const Placement& to = c.plan.placements[b.writes(s)[0].placement];
      const u64 skip = c.slab_bytes(to.value, c.widest) * static_cast<u64>(to.row_begin - from.row_begin);
      check_granules(c, body, i, from.offset + skip, to);
    }
  }
}

}  // namespace terrace::verifying
