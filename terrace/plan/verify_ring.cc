// Repetitions: a ring Move may run while the repetition before is still computing; it must not overwrite what that
// uses.
#include "terrace/plan/verify_internal.h"

namespace terrace::verifying {
namespace {

using Bits = std::vector<u64>;

void merge(Bits& into, const u64* row) {
  for (std::size_t w = 0; w < into.size(); ++w) into[w] |= row[w];
}
bool has(const Bits& bits, u32 i) { return bits[i / 64] >> (i % 64) & 1; }

/// Steps of the repetition before that have ended when all readers of these blocks have.
void add_readers(Bits& ended, const std::vector<const Tenant*>& by_block, const Order& order, u32 block) {
  if (!by_block[block]) return;
  for (const Access& a : by_block[block]->uses) {
    if (a.write) continue;
    merge(ended, order.row(a.step));
    ended[a.step / 64] |= u64{1} << (a.step % 64);
  }
}

}  // namespace

void check_repetition(Context& c, u32 first, const Order& first_order, const std::vector<Tenant>& first_tenants,
                      u32 second, const Order& order) {
  const Body& b = c.plan.bodies[second];
  std::vector<const Tenant*> by_block(c.plan.stream.size(), nullptr);
  for (const Tenant& t : first_tenants)
    if (t.block != kNone) by_block[t.block] = &t;
  Bits computes(order.words(), 0);  // they, and gathers, start when the repetition before has ended
  for (u32 s = 0; s < b.steps.size(); ++s)
    if (!c.is_ring_move(b.steps[s])) computes[s / 64] |= u64{1} << (s % 64);

  for (u32 s = 0; s < b.steps.size(); ++s) {
    if (!c.is_ring_move(b.steps[s])) continue;
    bool anchored = false;
    for (std::size_t w = 0; w < order.words() && !anchored; ++w) anchored = (order.row(s)[w] & computes[w]) != 0;
    if (anchored) continue;
    Bits ended(first_order.words(), 0);
    for (u32 m = 0; m < b.steps.size(); ++m) {
      if (m != s && !order.before(m, s)) continue;
      for (const Edge& e : b.after(b.steps[m]))
        if (e.kind == Edge::released) add_readers(ended, by_block, first_order, e.of);
    }
    const Placement& to = c.plan.placements[c.plan.stream[b.steps[s].block].to];
    for (const Tenant* t : by_block) {
      if (!t) continue;
      const Placement& p = c.plan.placements[t->placement];
      if (p.tier != to.tier || !c.reserved(p).meets(c.reserved(to))) continue;
      for (const Access& a : t->uses)
        if (!has(ended, a.step))
          c.report(Defect::wrong_repetition, "{} may overwrite block {} while {} of the repetition before needs it",
                   c.label(second, s), t->block, c.label(first, a.step));
    }
  }
}

}  // namespace terrace::verifying
