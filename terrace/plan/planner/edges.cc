// Edges: data, reuse of bytes, arrival in the ring; none that others imply.
#include <algorithm>

#include "terrace/plan/planner/draft.h"

namespace terrace::planner {
namespace {

/// Which earlier steps each step comes after, as rows of bits.
class Closure {
 public:
  explicit Closure(u32 steps) : words_((steps + 63) / 64), bits_(static_cast<std::size_t>(words_) * steps) {}
  bool before(u32 i, u32 j) const { return (row(j)[i / 64] >> (i % 64) & 1) != 0; }
  void add(u32 i, u32 j) {  // i, and all before it, come before j
    u64* to = bits_.data() + static_cast<std::size_t>(j) * words_;
    const u64* from = row(i);
    for (u32 w = 0; w <= i / 64; ++w) to[w] |= from[w];
    to[i / 64] |= u64{1} << (i % 64);
  }

 private:
  const u64* row(u32 j) const { return bits_.data() + static_cast<std::size_t>(j) * words_; }
  u32 words_;
  std::vector<u64> bits_;
};

struct Touch {
  u32 step;
  bool write;
  Operand operand;
};

class Connector {
 public:
  Connector(const Draft& d, const Body& body, u32 index)
      : d_(d),
        body_(body),
        index_(index),
        touches_(d.plan.placements.size()),
        mark_(body.steps.size()),
        reader_(d.blocks.size()),
        move_of_(d.plan.placements.size(), kNone),
        closure(static_cast<u32>(body.steps.size())),
        after(body.steps.size()) {}

  void run() {
    find_neighbours();
    for (u32 j = 0; j < body_.steps.size(); ++j) {
      const Step& s = body_.steps[j];
      for (u32 b : s.block != kNone ? d_.occupants[s.block] : std::vector<u32>{}) need(reader_[b]);
      for (const Operand& o : body_.reads(s)) use(o, false);
      for (const Operand& o : body_.writes(s)) use(o, true);
      if (s.scratch != kNone) use({kNone, s.scratch, 0, 0, -1}, true);
      if (s.block != kNone) move_of_[d_.plan.stream[s.block].to] = j;
      settle(j);
      record(j);
    }
  }

  u32 reader(u32 block) const { return reader_[block]; }

 private:
  bool here(u32 placement) const { return d_.plan.placements[placement].body == index_; }

  /// Earlier placements of the body that share bytes with each placement.
  void find_neighbours() {
    std::vector<u32> all;
    for (u32 p = 0; p < d_.plan.placements.size(); ++p)
      if (here(p)) all.push_back(p);
    neighbours_.resize(d_.plan.placements.size());
    std::sort(all.begin(), all.end(), [&](u32 a, u32 b) { return at(a).offset < at(b).offset; });
    for (std::size_t x = 0; x < all.size(); ++x)
      for (std::size_t y = x + 1; y < all.size() && at(all[y]).offset < at(all[x]).offset + at(all[x]).bytes.count;
           ++y) {
        const u32 a = all[x], b = all[y];
        // Born where the other dies: it takes over the bytes.
        if (at(a).death <= at(b).birth && at(a).birth < at(b).birth)
          neighbours_[b].push_back(a);
        else
          neighbours_[a].push_back(b);
      }
  }
  const Placement& at(u32 p) const { return d_.plan.placements[p]; }

  static bool apart(const Operand& a, const Operand& b) {
    return a.axis >= 0 && a.axis == b.axis && (a.end <= b.begin || b.end <= a.begin);
  }

  void use(const Operand& o, bool write) {
    const Placement& p = at(o.placement);
    if (p.owner == Owner::file) return;
    if (move_of_[o.placement] != kNone) need(move_of_[o.placement]);
    if (p.use == Use::inputs || p.use == Use::weights || p.use == Use::ring) return;
    for (const Touch& t : touches_[o.placement])
      if ((write || t.write) && !apart(o, t.operand)) need(t.step);
    if (write && here(o.placement))
      for (u32 q : neighbours_[o.placement])
        for (const Touch& t : touches_[q]) need(t.step);
  }

  void record(u32 j) {
    const Step& s = body_.steps[j];
    auto note = [&](const Operand& o, bool write) {
      const Placement& p = at(o.placement);
      if (p.use == Use::ring && s.kind == StepKind::compute) {
        const u32 block = body_.steps[move_of_[o.placement]].block;
        reader_[block] = j;
      } else if (p.owner == Owner::plan && p.use != Use::inputs && p.use != Use::weights && p.use != Use::ring) {
        touches_[o.placement].push_back({j, write, o});
      }
    };
    for (const Operand& o : body_.reads(s)) note(o, false);
    for (const Operand& o : body_.writes(s)) note(o, true);
    if (s.scratch != kNone) note({kNone, s.scratch, 0, 0, -1}, true);
  }

  void need(u32 step) {
    if (mark_[step]) return;
    mark_[step] = 1;
    needed_.push_back(step);
  }

  /// Keeps, from the latest to the earliest, the needed steps that no kept one comes after.
  void settle(u32 j) {
    std::sort(needed_.begin(), needed_.end(), std::greater<>());
    for (u32 i : needed_) {
      mark_[i] = 0;
      if (i == j || closure.before(i, j)) continue;
      closure.add(i, j);
      after[j].push_back(i);
    }
    std::reverse(after[j].begin(), after[j].end());
    needed_.clear();
  }

  const Draft& d_;
  const Body& body_;
  u32 index_;
  std::vector<std::vector<Touch>> touches_;   // by placement
  std::vector<std::vector<u32>> neighbours_;  // by placement
  std::vector<std::uint8_t> mark_;
  std::vector<u32> needed_, reader_, move_of_;

 public:
  Closure closure;
  std::vector<std::vector<u32>> after;
};

/// Blocks of the repetition before that `block` must wait for, without those whose readers always come earlier than
/// others'.
std::vector<u32> released(const Draft& d, const std::vector<Connector>& bodies, u32 block) {
  std::vector<u32> keep;
  for (u32 a : d.last_time[block]) {
    const bool implied = std::any_of(d.last_time[block].begin(), d.last_time[block].end(), [&](u32 b) {
      return b != a && std::all_of(bodies.begin(), bodies.end(),
                                   [&](const Connector& c) { return c.closure.before(c.reader(a), c.reader(b)); });
    });
    if (!implied) keep.push_back(a);
  }
  std::sort(keep.begin(), keep.end());
  return keep;
}

}  // namespace

void connect_steps(Draft& d) {
  std::vector<Connector> bodies;
  for (u32 b = 1; b < d.plan.bodies.size(); ++b) bodies.emplace_back(d, d.plan.bodies[b], b).run();
  for (u32 b = 1; b < d.plan.bodies.size(); ++b) {
    Body& body = d.plan.bodies[b];
    for (u32 j = 0; j < body.steps.size(); ++j) {
      Step& s = body.steps[j];
      s.first_edge = static_cast<u32>(body.edges.size());
      for (u32 i : bodies[b - 1].after[j]) body.edges.push_back({Edge::done, i});
      // A compute of this repetition has ended: all of the one before have.
      if (s.block != kNone && bodies[b - 1].after[j].empty())
        for (u32 i : released(d, bodies, s.block)) body.edges.push_back({Edge::released, i});
      s.n_edges = static_cast<std::uint16_t>(body.edges.size() - s.first_edge);
    }
    body.edges.shrink_to_fit();
  }
}

}  // namespace terrace::planner
