// Order: the closure of `done` edges, and what it must give in one repetition: arrival, no races, no byte reused early.
#include <algorithm>
#include <functional>
#include <queue>

#include "terrace/plan/verify_internal.h"

namespace terrace::verifying {

Order::Order(const Body& body) {
  sort(body);
  if (stuck_ == kNone) close(body);
}

/// Kahn's algorithm over edges and the order of issue (computes; ring moves), the earliest step first.
void Order::sort(const Body& body) {
  const std::size_t n = body.steps.size();
  std::vector<u32> waits(n, 0), start(n + 1, 0), next;
  auto each_edge = [&](auto&& visit) {
    u32 last_compute = kNone, last_move = kNone;
    for (u32 s = 0; s < n; ++s) {
      const Step& x = body.steps[s];
      for (const Edge& e : body.after(x))
        if (e.kind == Edge::done) visit(e.of, s);
      if (x.gather) continue;
      u32& last = x.kind == StepKind::compute ? last_compute : last_move;
      if (last != kNone) visit(last, s);
      last = s;
    }
  };
  each_edge([&](u32 from, u32 to) { ++start[from + 1], ++waits[to]; });
  for (std::size_t i = 0; i < n; ++i) start[i + 1] += start[i];
  next.resize(start[n]);
  std::vector<u32> fill(start.begin(), start.end() - 1);
  each_edge([&](u32 from, u32 to) { next[fill[from]++] = to; });

  std::priority_queue<u32, std::vector<u32>, std::greater<>> ready;
  for (u32 s = 0; s < n; ++s)
    if (waits[s] == 0) ready.push(s);
  position_.assign(n, kNone);
  while (!ready.empty()) {
    const u32 s = ready.top();
    ready.pop();
    position_[s] = static_cast<u32>(sequence_.size());
    sequence_.push_back(s);
    for (u32 i = start[s]; i < start[s + 1]; ++i)
      if (--waits[next[i]] == 0) ready.push(next[i]);
  }
  for (u32 s = 0; s < n && stuck_ == kNone; ++s)
    if (position_[s] == kNone) stuck_ = s;
}

void Order::close(const Body& body) {
  words_ = (body.steps.size() + 63) / 64;
  bits_.assign(words_ * body.steps.size(), 0);
  for (u32 s : sequence_) {
    u64* mine = bits_.data() + s * words_;
    for (const Edge& e : body.after(body.steps[s])) {
      if (e.kind != Edge::done) continue;
      const u64* other = row(e.of);
      for (std::size_t w = 0; w < words_; ++w) mine[w] |= other[w];
      mine[e.of / 64] |= u64{1} << (e.of % 64);
    }
  }
}

namespace {

class BodyChecker {
 public:
  BodyChecker(Context& c, u32 body, const Order& order, std::vector<Tenant>& tenants)
      : c_(c), body_(body), b_(c.plan.bodies[body]), order_(order), tenants_(tenants) {}

  void run() {
    tenant_of_.assign(c_.plan.placements.size(), kNone);
    writers_.resize(c_.graph.values().size());
    bring_.resize(c_.plan.placements.size());
    check_stream();
    for (u32 s = 0; s < b_.steps.size(); ++s) note_writes(s);
    for (u32 s = 0; s < b_.steps.size(); ++s)
      for (const Operand& o : b_.reads(b_.steps[s])) check_read(s, o);
    keep_outputs();
    check_pairs();
  }

 private:
  struct Write {
    u32 step, placement;
    Cut cut;
  };

  /// A repeated body has one ring Move for each block, in the order of the stream.
  void check_stream() {
    if (b_.once) return;
    u32 next = 0;
    for (u32 s = 0; s < b_.steps.size(); ++s) {
      if (!c_.is_ring_move(b_.steps[s])) continue;
      if (b_.steps[s].block != next)
        return c_.report(Defect::wrong_repetition, "{} brings block {} where every repetition brings {}",
                         c_.label(body_, s), b_.steps[s].block, next);
      ++next;
    }
    if (next != c_.plan.stream.size())
      c_.report(Defect::wrong_repetition, "{} brings {} of {} stream blocks", b_.name, next, c_.plan.stream.size());
  }

  u32 tenant(u32 placement, u32 block) {
    u32& t = tenant_of_[placement];
    if (block != kNone || t == kNone) {
      tenants_.push_back({placement, block, kNone, 0, {}});
      t = static_cast<u32>(tenants_.size() - 1);
    }
    return t;
  }

  void use(u32 t, const Access& a) {
    tenants_[t].uses.push_back(a);
    const u32 p = order_.position(a.step);
    tenants_[t].first = std::min(tenants_[t].first, p);
    tenants_[t].last = std::max(tenants_[t].last, p);
    const Placement& place = c_.plan.placements[tenants_[t].placement];
    if (place.body != kNone && (a.step < place.birth || a.step > place.death))
      c_.report(Defect::unaccounted, "{} uses {} outside its lifetime, steps {}..{}", c_.label(body_, a.step),
                c_.label(tenants_[t].placement), place.birth, place.death);
  }

  void note_writes(u32 s) {
    const Step& x = b_.steps[s];
    for (const Operand& o : b_.writes(x)) {
      const Cut cut = c_.cut_of(body_, o);
      const u32 t = tenant(o.placement, x.block);
      use(t, {s, o.value, cut, true});
      writers_[o.value].push_back({s, o.placement, cut});
      if (x.block != kNone) bring_[o.placement].push_back(t);
    }
    if (x.scratch == kNone) return;
    const Placement& p = c_.plan.placements[x.scratch];
    if (p.value != kNone || p.owner != Owner::plan || (p.body != kNone && p.body != body_))
      return c_.report(Defect::unaccounted, "{}: {} is no scratch of its body", c_.label(body_, s),
                       c_.label(x.scratch));
    use(tenant(x.scratch, kNone), {s, kNone, {}, true});
  }

  void check_read(u32 s, const Operand& o) {
    const Placement& p = c_.plan.placements[o.placement];
    const Access a{s, o.value, c_.cut_of(body_, o), false};
    if (p.owner == Owner::file) {
      if (b_.steps[s].kind == StepKind::compute)
        c_.report(Defect::not_arrived, "{} computes on '{}' in a file", c_.label(body_, s),
                  c_.graph.value(o.value).name);
      return;
    }
    if (p.use == Use::ring) return read_ring(a, o.placement);
    if (p.use == Use::weights && !c_.loaded[o.placement])
      c_.report(Defect::not_arrived, "{} uses {}, which nothing loads", c_.label(body_, s), c_.label(o.placement));
    if (c_.graph.value(o.value).kind == ValueKind::computed) read_computed(a, o.placement);
    if (const u32 next = c_.next_version[o.value]; next != kNone)
      for (const Write& w : writers_[next])
        if (order_.before(w.step, s))
          c_.report(Defect::read_before_write, "{} reads '{}' after {} has replaced it", c_.label(body_, s),
                    c_.graph.value(o.value).name, c_.label(body_, w.step));
    use(tenant(o.placement, kNone), a);
  }

  void read_computed(const Access& a, u32 placement) {
    const auto& writers = writers_[a.value];
    bool ok = !writers.empty();
    for (const Write& w : writers)
      if (w.cut.meets(a.cut)) ok = ok && w.placement == placement && order_.before(w.step, a.step);
    if (!ok)
      c_.report(Defect::read_before_write, "{} reads '{}', not all of which is written there before",
                c_.label(body_, a.step), c_.graph.value(a.value).name);
  }

  /// The block that a reader sees is the last one brought before it.
  void read_ring(const Access& a, u32 placement) {
    u32 found = kNone;
    for (u32 t : bring_[placement])
      if (order_.before(tenants_[t].uses[0].step, a.step)) found = t;
    if (found == kNone) {
      c_.report(Defect::not_arrived, "{} uses {}, which it does not wait for", c_.label(body_, a.step),
                c_.label(placement));
      if (bring_[placement].empty()) return;
      found = bring_[placement][0];
    }
    use(found, a);
  }

  void keep_outputs() {
    for (ValueId v : c_.graph.outputs()) {
      if (b_.once || c_.graph.value(v).kind != ValueKind::computed) continue;
      for (const Write& w : writers_[v]) {
        const Placement& p = c_.plan.placements[w.placement];
        tenants_[tenant(w.placement, kNone)].last = kNone;
        if (p.body != kNone && p.death + 1 != b_.steps.size())
          c_.report(Defect::unaccounted, "output {} dies at step {}, before {} ends", c_.label(w.placement), p.death,
                    b_.name);
      }
    }
  }

  /// Every two tenants whose bytes meet: uses in order, and one gone before the other comes.
  void check_pairs() {
    std::vector<u32> sorted(tenants_.size()), active;
    for (u32 i = 0; i < sorted.size(); ++i) sorted[i] = i;
    auto place = [&](u32 t) -> const Placement& { return c_.plan.placements[tenants_[t].placement]; };
    auto bytes = [&](u32 t) { return c_.reserved(place(t)); };
    std::sort(sorted.begin(), sorted.end(), [&](u32 a, u32 b) {
      return std::pair(place(a).tier, bytes(a).lo) < std::pair(place(b).tier, bytes(b).lo);
    });
    for (u32 t : sorted) {
      if (tenants_[t].block != kNone && tenants_[t].uses.size() == 1)
        c_.report(Defect::wrong_repetition, "{}: nobody reads stream block {}", b_.name, tenants_[t].block);
      check_own(tenants_[t]);
      std::erase_if(active, [&](u32 k) { return place(k).tier != place(t).tier || bytes(k).hi <= bytes(t).lo; });
      for (u32 k : active)
        if (bytes(k).meets(bytes(t))) check_pair(tenants_[k], tenants_[t]);
      active.push_back(t);
    }
  }

  bool ordered(const Access& a, const Access& b) const {
    return (!a.write && !b.write) || a.step == b.step || order_.before(a.step, b.step) || order_.before(b.step, a.step);
  }

  void race(const Access& a, const Access& b, u32 placement) {
    c_.report(Defect::race, "{} and {} may run at once on bytes of {}", c_.label(body_, a.step),
              c_.label(body_, b.step), c_.label(placement));
  }

  void check_own(const Tenant& t) {
    for (std::size_t i = 0; i < t.uses.size(); ++i)
      for (std::size_t k = i + 1; k < t.uses.size(); ++k)
        if (!ordered(t.uses[i], t.uses[k]) && t.uses[i].cut.meets(t.uses[k].cut))
          race(t.uses[i], t.uses[k], t.placement);
  }

  void check_pair(const Tenant& a, const Tenant& b) {
    const Placement &p = c_.plan.placements[a.placement], &q = c_.plan.placements[b.placement];
    const bool both_ring = p.use == Use::ring && q.use == Use::ring;
    if (!both_ring && (p.body == kNone || q.body == kNone)) return;  // never allowed: check_memory has said so
    for (const Access& x : a.uses)
      for (const Access& y : b.uses)
        if (!ordered(x, y)) race(x, y, a.placement);
    const bool same = a.placement == b.placement;
    if (!same && a.first <= b.last && b.first <= a.last && !c_.takes_over(p, q) && !c_.takes_over(q, p))
      c_.report(Defect::overlap, "{}: {} and {} share bytes while both are in use", b_.name, c_.label(a.placement),
                c_.label(b.placement));
  }

  Context& c_;
  u32 body_;
  const Body& b_;
  const Order& order_;
  std::vector<Tenant>& tenants_;
  std::vector<u32> tenant_of_;               // by placement
  std::vector<std::vector<Write>> writers_;  // by value
  std::vector<std::vector<u32>> bring_;      // tenants that ring moves make, by placement
};

}  // namespace

void check_order(Context& c, u32 body, const Order& order, std::vector<Tenant>& tenants) {
  BodyChecker(c, body, order, tenants).run();
}

}  // namespace terrace::verifying
