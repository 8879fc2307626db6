// Steps of the repeated bodies: a Move for each stream block as early as its ring bytes are free in step order, a
// Compute for each run of rows that lies in one placement. Edges come later.
#include <algorithm>

#include "terrace/plan/planner/draft.h"

namespace terrace::planner {
namespace {

class Emitter {
 public:
  Emitter(Draft& d, u32 body)
      : d_(d), b_(body), out_(d.plan.bodies.emplace_back()), touched_(d.plan.placements.size()) {
    const BodySizes& s = d.sizes[body];
    out_.name = d.request.bodies[body].name;
    out_.goals = d.request.bodies[body].goals;
    out_.symbols = s.intervals;
    out_.typical = s.typical;
  }

  void run() {
    moves();
    for (NodeId n = 0; n < d_.graph.nodes().size(); ++n) {
      if (!d_.computed[b_][n]) continue;
      if (gathers(d_, n))
        gather(n);
      else if (!split(n))
        compute(n, {}, kNone);
    }
  }

 private:
  /// Moves whose bytes' earlier readers have been emitted. Blocks are read in stream order, so block b is read once
  /// `read_` has passed it.
  void moves() {
    for (; next_ < d_.blocks.size(); ++next_) {
      const auto& before = d_.occupants[next_];
      if (!before.empty() && *std::max_element(before.begin(), before.end()) >= read_) return;
      const StreamBlock& sb = d_.plan.stream[next_];
      Step s = begin(StepKind::move);
      s.lane = Lane::io;
      s.link = d_.link;
      s.block = next_;
      s.n_reads = s.n_writes = 1;
      const Placement& p = d_.plan.placements[sb.to];
      const auto axis = static_cast<std::int8_t>(p.row_end > 0 ? 0 : -1);
      out_.operands.push_back({p.value, sb.from, p.row_begin, p.row_end, axis});
      out_.operands.push_back({p.value, sb.to, p.row_begin, p.row_end, axis});
      end(s);
    }
  }

  void gather(NodeId n) {
    const Node& node = d_.graph.node(n);
    Step s = begin(StepKind::move);
    s.lane = Lane::io;
    s.gather = true;
    s.link = d_.link;
    s.node = n;
    s.scratch = d_.body_scratch[b_][n];
    s.n_reads = 2;
    s.n_writes = 1;
    out_.operands.push_back({node.inputs[0], d_.table[node.inputs[0]], 0, 0, -1});
    out_.operands.push_back({node.inputs[1], home(node.inputs[1]), 0, 0, -1});
    out_.operands.push_back({node.outputs[0], home(node.outputs[0]), 0, 0, -1});
    end(s);
  }

  /// One Compute a run of rows; false if the node is computed in one piece.
  bool split(NodeId n) {
    const Split& sp = d_.splits[n];
    if (sp.operand < 0) return false;
    const ValueId v = d_.graph.node(n).inputs[static_cast<std::size_t>(sp.operand)];
    const WeightUse& w = d_.weights[v];
    if (w.pinned == w.rows) return false;
    if (w.pinned > 0) compute(n, {0, w.pinned}, d_.home[v]);
    for (; read_ < d_.blocks.size() && d_.blocks[read_].node == n;) {
      const Block& b = d_.blocks[read_];
      compute(n, {b.begin, b.end}, d_.plan.stream[read_].to);
      ++read_;
      moves();
    }
    return true;
  }

  void compute(NodeId n, Interval rows, u32 weight_at) {
    const Node& node = d_.graph.node(n);
    Step s = begin(StepKind::compute);
    s.unit = d_.unit;
    s.node = n;
    s.kernel = d_.kernel_of[n];
    s.workers = static_cast<std::uint16_t>(node_workers(d_, n, d_.sizes[b_].typical));
    s.scratch = d_.body_scratch[b_][n];
    s.n_reads = static_cast<std::uint16_t>(node.inputs.size());
    s.n_writes = static_cast<std::uint16_t>(node.outputs.size());
    const Split& sp = d_.splits[n];
    const bool whole = weight_at == kNone ||
                       (rows.lo == 0 && rows.hi == d_.weights[node.inputs[static_cast<std::size_t>(sp.operand)]].rows);
    for (std::size_t o = 0; o < node.inputs.size() + node.outputs.size(); ++o) {
      const ValueId v = o < node.inputs.size() ? node.inputs[o] : node.outputs[o - node.inputs.size()];
      Operand op{v, static_cast<int>(o) == sp.operand && weight_at != kNone ? weight_at : home(v), 0, 0, -1};
      if (!whole && sp.axis->of[o] >= 0) op = {v, op.placement, rows.lo, rows.hi, sp.axis->of[o]};
      out_.operands.push_back(op);
    }
    end(s);
  }

  u32 home(ValueId v) const {
    const ValueId root = d_.graph.root_of(v);
    return d_.home[root] != kNone ? d_.home[root] : d_.body_home[b_][root];
  }
  Step begin(StepKind kind) const {
    Step s;
    s.kind = kind;
    s.first_operand = static_cast<u32>(out_.operands.size());
    return s;
  }
  /// Appends the step; stretches the lives of what it uses.
  void end(const Step& s) {
    const auto id = static_cast<u32>(out_.steps.size());
    auto touch = [&](u32 placement) {
      Placement& p = d_.plan.placements[placement];
      if (p.body == kNone) return;
      if (!touched_[placement]) p.birth = id;
      touched_[placement] = 1;
      p.death = id;
    };
    out_.steps.push_back(s);
    for (const Operand& o : out_.reads(s)) touch(o.placement);
    for (const Operand& o : out_.writes(s)) touch(o.placement);
    if (s.scratch != kNone) touch(s.scratch);
  }

  Draft& d_;
  u32 b_;
  Body& out_;
  u32 next_ = 0, read_ = 0;            // stream blocks: moved, read
  std::vector<std::uint8_t> touched_;  // by placement
};

}  // namespace

void emit_steps(Draft& d) {
  d.plan.bodies.reserve(d.sizes.size() + 1);
  for (u32 b = 0; b < d.sizes.size(); ++b) {
    Emitter(d, b).run();
    const Body& body = d.plan.bodies.back();
    for (ValueId v : d.graph.outputs())  // readable until the next run
      if (d.body_home[b][v] != kNone)
        d.plan.placements[d.body_home[b][v]].death = static_cast<u32>(body.steps.size() - 1);
  }
}

}  // namespace terrace::planner
