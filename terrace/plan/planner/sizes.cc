// The search: chunk bounds and ways to keep weights, judged by the predicted seconds of the whole work.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "terrace/core/error.h"
#include "terrace/plan/planner/draft.h"

namespace terrace::planner {

u64 largest_arena(u64 limit, u64 reserved) {
  if (limit <= reserved) return 0;
  if (limit == ~u64{0}) return u64{1} << 62;
  u64 a = round_down((limit - reserved) / 513 * 512 + 4096, 4096);
  while (a > 0 && arena_total(a) > limit - reserved) a -= 4096;
  while (arena_total(a + 4096) <= limit - reserved) a += 4096;
  return arena_total(a) <= limit - reserved ? a : 0;
}

namespace {

constexpr int kIoDepth = 8;

u64 persistent(const Draft& d) {
  return round_up(d.region_bytes + d.input_bytes + d.state_bytes, std::max<u64>(4096, d.granule));
}

/// Inputs persist, so they take the most that any body needs.
void set_inputs(Draft& d, const std::vector<i64>& most) {
  d.input_bounds = most;
  d.input_bytes = 0;
  for (const Value& v : d.graph.values())
    if (v.kind == ValueKind::input) d.input_bytes += round_up(v.spec.bytes(most).count, 64);
}

/// Regions and compute seconds by body, remembered where the chunk bound does not change them.
class Search {
 public:
  explicit Search(Draft& d)
      : d_(d),
        regions_(3, std::vector<std::optional<Region>>(d.request.bodies.size())),
        seconds_(d.request.bodies.size()) {}

  void set_sizes(int halvings) {
    d_.sizes.clear();
    for (const BodyRequest& b : d_.request.bodies) {
      d_.sizes.push_back(sizes_at(d_, b, halvings));
      if (b.chunk != kNoSymbol) {
        const auto c = static_cast<std::size_t>(b.chunk);
        d_.sizes.back().typical[c] = d_.sizes.back().hi[c];
      }
    }
    std::vector<i64> most = d_.sizes[0].hi;
    for (const BodySizes& s : d_.sizes)
      for (std::size_t i = 0; i < most.size(); ++i) most[i] = std::max(most[i], s.hi[i]);
    set_inputs(d_, most);
    for (std::size_t b = 0; b < seconds_.size(); ++b) {
      if (d_.request.bodies[b].chunk == kNoSymbol) continue;
      seconds_[b].reset();
      for (auto& by_body : regions_) by_body[b].reset();
    }
  }

  void set_mode(Mode mode) {
    d_.mode = mode;
    d_.regions.clear();
    d_.region_bytes = 0;
    auto& by_body = regions_[static_cast<std::size_t>(mode)];
    for (std::size_t b = 0; b < by_body.size(); ++b) {
      if (!by_body[b]) by_body[b] = pack_region(d_, b, d_.sizes[b]);
      d_.region_bytes = std::max(d_.region_bytes, by_body[b]->bytes);
    }
  }
  void keep_regions() {
    for (auto& r : regions_[static_cast<std::size_t>(d_.mode)]) d_.regions.push_back(*r);
  }

  /// Predicted seconds of the whole work, each repetition as long as the longer of reading and computing.
  double score() {
    u64 streamed = 0;
    for (const Block& b : d_.blocks) streamed += static_cast<u64>(b.end - b.begin) * d_.weights[b.weight].row_bytes;
    double io = 0;
    if (streamed > 0) {
      const Bytes block{streamed / d_.blocks.size()};
      io = (Bytes{streamed} / link_rate(d_.machine, d_.link, block, kIoDepth)).value;
    }
    double sum = 0;
    for (std::size_t b = 0; b < seconds_.size(); ++b) {
      const BodyRequest& body = d_.request.bodies[b];
      if (!seconds_[b]) seconds_[b] = compute(b, d_.sizes[b]);
      double runs = body.weight;
      if (body.chunk != kNoSymbol) {
        const auto chunk = static_cast<double>(d_.sizes[b].hi[static_cast<std::size_t>(body.chunk)]);
        runs = std::max(1.0, body.weight / chunk);
      }
      sum += runs * std::max(io, *seconds_[b]);
    }
    return sum;
  }

 private:
  double compute(std::size_t body, const BodySizes& s) const {
    double t = 0;
    for (NodeId n = 0; n < d_.graph.nodes().size(); ++n)
      if (d_.computed[body][n]) t += node_seconds(d_, n, s.typical, node_workers(d_, n, s.typical)).value;
    return t;
  }

  Draft& d_;
  std::vector<std::vector<std::optional<Region>>> regions_;  // by mode, by body
  std::vector<std::optional<double>> seconds_;
};

constexpr Mode kModes[] = {Mode::resident, Mode::tables, Mode::streamed};

/// Every repeated body reads every block of the ring, so those that leave nodes out need their weights resident.
bool allowed(const Draft& d, Mode m) {
  return m == Mode::resident || std::all_of(d.request.bodies.begin(), d.request.bodies.end(),
                                            [](const BodyRequest& b) { return b.goals.empty(); });
}

/// The mode that keeps most and fits with the sizes set; false if none does.
bool fit(Draft& d, Search& search, u64 arena) {
  for (Mode m : kModes) {
    if (!allowed(d, m)) continue;
    d.mode = m;
    const u64 least = least_residency(d);
    if (least + d.input_bytes + d.state_bytes > arena) continue;
    search.set_mode(m);
    if (persistent(d) + least <= arena && choose_residency(d, arena - persistent(d))) return true;
  }
  return false;
}

std::string in_mib(u64 bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 1048576.0); }

[[noreturn]] void refuse(Draft& d) {
  const Bytes least = smallest(d);  // leaves the smallest configuration in the draft
  std::string parts =
      fmt::format("process {}, state {}, inputs and activations {}, weights and ring at least {}", in_mib(d.reserved),
                  in_mib(d.state_bytes), in_mib(d.input_bytes + d.region_bytes), in_mib(least_residency(d)));
  throw Error(ErrorKind::does_not_fit, fmt::format("a budget of {} is too small: {}", in_mib(d.limit), parts),
              d.machine.tier(d.memory).id,
              fmt::format("the smallest budget that would do is {} bytes ({:.1f} MiB), or ask for a shorter context",
                          least.count, static_cast<double>(least.count + 52428) / 1048576.0))
      .with_smallest_budget(least);
}

}  // namespace

u64 plan_bytes(const Draft& d) {
  // In each body a Move and a Compute a block, and a step for every node but those of which nothing else is left.
  u64 steps = d.graph.nodes().size() + 2 * d.blocks.size();
  for (std::size_t i = 0; i < d.blocks.size(); ++i)
    if ((i == 0 || d.blocks[i].node != d.blocks[i - 1].node) && d.weights[d.blocks[i].weight].pinned == 0) --steps;
  steps *= d.request.bodies.size();
  for (const WeightUse& w : d.weights) steps += w.pinned > 0;
  return round_up(steps * kPlanBytesPerStep, 4096);
}

Bytes smallest(Draft& d) {
  const int most = max_halvings(d);
  u64 best = ~u64{0};
  Mode best_mode = Mode::streamed;
  int best_k = most;
  Search search(d);
  for (int k = std::max(0, most - 3); k <= most; ++k) {
    search.set_sizes(k);
    for (Mode m : kModes) {
      if (!allowed(d, m)) continue;
      d.mode = m;
      if (least_residency(d) >= best) continue;
      search.set_mode(m);
      const u64 arena = round_up(persistent(d) + least_residency(d), 4096);
      if (d.reserved + arena_total(arena) < best) best = d.reserved + arena_total(arena), best_mode = m, best_k = k;
    }
  }
  search.set_sizes(best_k);
  search.set_mode(best_mode);
  choose_residency(d, least_residency(d));
  search.keep_regions();
  d.plan_room = plan_bytes(d);
  return Bytes{best + d.plan_room};
}

namespace {
/// The best chunk bound and mode in an arena; false if none fits.
bool choose_in(Draft& d, u64 arena) {
  Search search(d);
  int best = -1;
  double best_score = 0;
  for (int k = 0; k <= max_halvings(d); ++k) {
    search.set_sizes(k);
    if (!fit(d, search, arena)) continue;
    const double score = search.score();
    if (best < 0 || score < best_score) best = k, best_score = score;
    if (d.mode == Mode::resident) break;  // smaller chunks free nothing that could be used
  }
  if (best < 0) return false;
  search.set_sizes(best);
  fit(d, search, arena);
  search.keep_regions();
  return true;
}
}  // namespace

void choose_sizes(Draft& d) {
  d.plan.smallest_budget = smallest(d);
  if (d.limit < d.plan.smallest_budget.count) refuse(d);
  // How many steps there are follows from what is streamed, and what is streamed from the room that steps leave.
  d.plan_room = 0;
  while (choose_in(d, largest_arena(d.limit, d.reserved + d.plan_room))) {
    const u64 need = plan_bytes(d);
    if (need <= d.plan_room) return;
    d.plan_room = need;
  }
  smallest(d);  // more steps than room at every size tried: what the smallest budget would get
}

}  // namespace terrace::planner
