#include "terrace/sim/sim_engine.h"

#include <algorithm>
#include <limits>

#include "terrace/core/error.h"
#include "terrace/engine/bindings.h"
#include "terrace/engine/schedule.h"
#include "terrace/plan/estimator.h"

namespace terrace {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// What one step costs at the symbols that it was looked at with.
struct StepCost {
  StepWork work;
  double seconds = 0;
  std::optional<double> joules;
  double known_joules = 0;
};

/// A transfer on its way.
struct Transfer {
  enum Kind { ring, gather, load } kind = ring;
  u64 what = 0;  ///< number in the ring's order, gather, or place among the loads
  LinkId link = 0;
  double latency = 0;  ///< seconds left before its first byte
  double bytes = 0;    ///< left
  double size = 0;     ///< of one request
  double alone = 0;    ///< bytes a second when nothing else travels; 0: the link's
};

struct Times {
  double start = 0, end = 0;
};

/// The compute step that runs, if any.
struct Running {
  bool active = false;
  double left = 0;       ///< seconds, uncontended
  double seconds = 0;    ///< in all
  double bytes = 0;      ///< from and to the near tier
  double bandwidth = 0;  ///< of the near tier, for its threads
  TierId near = 0;
};

}  // namespace

struct SimEngine::Impl {
  Impl(const Graph& g, const Machine& m, const Plan& p, Provenance provenance)
      : graph(g),
        machine(m),
        plan(p),
        schedules(make_schedules(p, layout)),
        costs(p.bodies.size()),
        costed(p.bodies.size()),
        blocks(p.stream.size()),
        ring_times(2 * blocks) {
    trace.provenance = provenance;
  }

  const Graph& graph;
  const Machine& machine;
  const Plan& plan;
  RingLayout layout;
  std::vector<BodySchedule> schedules;
  std::vector<std::vector<StepCost>> costs;  ///< by body and step
  std::vector<std::vector<i64>> costed;      ///< by body: the symbols that its costs are for
  Trace trace;

  // The lanes, whose state goes on from run to run.
  const u64 blocks;
  double now = 0;
  u64 repetition = ~u64{0}, submitted = 0, arrived = 0;
  std::vector<Times> ring_times;
  std::vector<Transfer> in_flight;
  std::vector<u64> early;  ///< blocks that overtook an earlier one

  // This repetition.
  u32 body = kNone;
  bool once = false;
  std::size_t computes = 0, gathers_begun = 0, gathers = 0, loads_begun = 0, loads = 0;  ///< ended, but for *_begun
  std::vector<Times> gather_times, load_times;
  Running running;
  double busy = 0, io_wait = 0;

  const BodySchedule& schedule() const { return schedules[body]; }
  u64 depth() const { return static_cast<u64>(std::max(1, plan.io_depth)); }
  const StepCost& cost(u32 step) const { return costs[body][step]; }

  void price(u32 b, std::span<const i64> symbols);
  bool ready(const Wait& w) const;
  bool may_submit(u64 number) const;
  void submit();
  void send(Transfer::Kind kind, u64 what, u32 step);
  void start_compute();
  double rate_of(const Transfer& t) const;
  double speed() const;
  void advance();
  void ended(const Transfer& t);
  bool finished() const;
  void report(double begin);
};

/// Costs of steps that do not follow the symbols are kept.
void SimEngine::Impl::price(u32 b, std::span<const i64> symbols) {
  const Body& body_of = plan.bodies[b];
  std::vector<char> changed(symbols.size(), 1);
  const bool first = costs[b].empty();
  for (std::size_t i = 0; i < symbols.size() && !first; ++i) changed[i] = symbols[i] != costed[b][i];
  auto follows = [&](const Step& s) {
    if (first || s.node == kNone) return first;
    const Node& node = graph.node(s.node);
    bool any = false;
    for (SymbolId y : node.attrs.symbols) any |= y != kNoSymbol && changed[static_cast<std::size_t>(y)];
    auto look = [&](ValueId v) {
      const Shape& shape = graph.value(v).spec.shape;
      for (int a = 0; a < shape.rank; ++a)
        any |= shape[a].is_symbol() && changed[static_cast<std::size_t>(shape[a].symbol)];
    };
    for (ValueId v : node.inputs) look(v);
    for (ValueId v : node.outputs) look(v);
    return any;
  };
  costs[b].resize(body_of.steps.size());
  for (std::size_t i = 0; i < body_of.steps.size(); ++i) {
    if (!follows(body_of.steps[i])) continue;
    StepCost& c = costs[b][i];
    c.work = step_work(graph, plan, body_of, body_of.steps[i], symbols);
    const StepEstimate e = estimate(graph, machine, plan, body_of, body_of.steps[i], c.work);
    c.seconds = e.seconds.value;
    c.joules = e.joules ? std::optional(e.joules->value) : std::nullopt;
    c.known_joules = e.known_joules.value;
  }
  costed[b].assign(symbols.begin(), symbols.end());
}

bool SimEngine::Impl::ready(const Wait& w) const {
  return w.compute < static_cast<i64>(computes) && w.gather < static_cast<i64>(gathers) &&
         (w.block < 0 || arrived > repetition * blocks + static_cast<u64>(w.block));
}

bool SimEngine::Impl::may_submit(u64 number) const {
  const std::size_t b = number % blocks;
  if (number >= layout.distance[b] && arrived + layout.distance[b] <= number) return false;
  if (number / blocks == repetition) return body != kNone && !once && ready(schedule().ring[b].wait);
  if (number / blocks != repetition + 1 || !layout.may_run_ahead[b]) return false;
  return body == kNone || once || schedule().ring[b].free_after < static_cast<i64>(computes);
}

void SimEngine::Impl::send(Transfer::Kind kind, u64 what, u32 step) {
  const Step& s = plan.bodies[body].steps[step];
  const StepCost& c = cost(step);
  Transfer t;
  t.kind = kind;
  t.what = what;
  t.link = s.link;
  t.bytes = static_cast<double>(c.work.transferred.count);
  t.size = t.bytes;
  // Where throughput was measured by block and depth, latency is in it.
  if (kind == Transfer::gather)
    t.alone = c.seconds > 0 ? t.bytes / c.seconds : kNever;
  else if (machine.links[s.link].rates.empty())
    t.latency = machine.links[s.link].latency.value;
  in_flight.push_back(t);
}

void SimEngine::Impl::submit() {
  if (once) {
    while (loads_begun < schedule().loads.size() && loads_begun - loads < depth()) {
      load_times[loads_begun].start = now;
      send(Transfer::load, loads_begun, schedule().loads[loads_begun]);
      ++loads_begun;
    }
    return;
  }
  while (gathers_begun < schedule().gathers.size() && gathers_begun == gathers &&
         ready(schedule().gathers[gathers].wait)) {
    gather_times[gathers_begun].start = now;
    send(Transfer::gather, gathers_begun, schedule().gathers[gathers_begun].step);
    ++gathers_begun;
  }
  while (blocks > 0 && submitted - arrived < depth() && may_submit(submitted)) {
    ring_times[submitted % (2 * blocks)].start = now;
    send(Transfer::ring, submitted, schedule().ring[submitted % blocks].step);
    ++submitted;
  }
}

void SimEngine::Impl::start_compute() {
  if (running.active || once || computes == schedule().computes.size()) return;
  const ComputeEntry& e = schedule().computes[computes];
  if (!ready(e.wait)) return;
  const Step& s = plan.bodies[body].steps[e.step];
  const StepCost& c = cost(e.step);
  running.active = true;
  running.left = running.seconds = c.seconds;
  running.near = machine.units[s.unit].near;
  running.bytes = static_cast<double>(c.work.read[running.near].count + c.work.written[running.near].count);
  running.bandwidth = tier_read_rate(machine, running.near, s.workers).value;
  trace.records[e.step].start = now;
}

/// Those in flight share their link evenly, and none writes faster than its tier takes.
double SimEngine::Impl::rate_of(const Transfer& t) const {
  const auto n = std::count_if(in_flight.begin(), in_flight.end(),
                               [&](const Transfer& o) { return o.link == t.link && o.latency <= 0; });
  const int sharing = static_cast<int>(std::max<std::ptrdiff_t>(1, n));
  const double link =
      t.alone > 0 ? t.alone : link_rate(machine, t.link, Bytes{static_cast<u64>(std::max(1.0, t.size))}, sharing).value;
  const double tier = machine.tiers[machine.links[t.link].to].write.value;
  return (tier > 0 ? std::min(link, tier) : link) / sharing;
}

/// How fast the running step goes, 1 being alone: what transfers write into its tier, it cannot read.
double SimEngine::Impl::speed() const {
  double taken = 0;
  for (const Transfer& t : in_flight)
    if (t.latency <= 0 && machine.links[t.link].to == running.near) taken += rate_of(t);
  const double left = std::max(running.bandwidth - taken, running.bandwidth * 0.1);
  const double contended = left > 0 ? running.bytes / left : 0;
  return contended > running.seconds ? running.seconds / contended : 1.0;
}

/// To the next event.
void SimEngine::Impl::advance() {
  const double v = running.active ? speed() : 1.0;
  double dt = running.active ? running.left / v : kNever;
  std::vector<double> rates;
  for (const Transfer& t : in_flight) {
    rates.push_back(rate_of(t));
    dt = std::min(dt, t.latency > 0 ? t.latency : t.bytes / rates.back());
  }
  if (dt == kNever) throw Error(ErrorKind::failure, "the plan waits for itself", plan.bodies[body].name);
  now += dt;
  (running.active ? busy : io_wait) += dt;
  std::vector<Transfer> landed;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < in_flight.size(); ++i) {
    Transfer& t = in_flight[i];
    const bool waiting = t.latency > 0;
    const double left = waiting ? (t.latency -= dt) : (t.bytes -= rates[i] * dt);
    const bool over = left <= (waiting ? 1e-15 : 1e-6);
    if (waiting && over) t.latency = 0;
    if (over && (!waiting || t.bytes <= 0))
      landed.push_back(t);
    else
      in_flight[kept++] = t;
  }
  in_flight.resize(kept);
  for (const Transfer& t : landed) ended(t);
  if (!running.active || (running.left -= v * dt) > 1e-15) return;
  running.active = false;
  trace.records[schedule().computes[computes++].step].end = now;
}

void SimEngine::Impl::ended(const Transfer& t) {
  if (t.kind == Transfer::gather) {
    gather_times[t.what].end = now;
    ++gathers;
  } else if (t.kind == Transfer::load) {
    load_times[t.what].end = now;
    ++loads;
  } else {
    ring_times[t.what % (2 * blocks)].end = now;
    early.push_back(t.what);
    for (auto it = early.begin(); (it = std::find(early.begin(), early.end(), arrived)) != early.end(); ++arrived)
      early.erase(it);
  }
}

bool SimEngine::Impl::finished() const {
  if (once) return loads == schedule().loads.size();
  return computes == schedule().computes.size() && gathers == schedule().gathers.size() &&
         arrived >= (repetition + 1) * blocks;
}

void SimEngine::Impl::report(double begin) {
  const Body& b = plan.bodies[body];
  Totals& t = trace.totals = Totals{};
  auto place = [&](u32 step, const Times& x) {
    trace.records[step].start = x.start;
    trace.records[step].end = x.end;
  };
  for (u64 i = 0; i < schedule().ring.size(); ++i)
    place(schedule().ring[i].step, ring_times[(repetition & 1) * blocks + i]);
  for (std::size_t i = 0; i < schedule().gathers.size(); ++i) place(schedule().gathers[i].step, gather_times[i]);
  for (std::size_t i = 0; i < schedule().loads.size(); ++i) place(schedule().loads[i], load_times[i]);
  for (u32 i = 0; i < b.steps.size(); ++i) {
    const StepCost& c = cost(i);
    StepRecord& r = trace.records[i];
    const bool move = b.steps[i].kind == StepKind::move;
    r.step = i;
    r.start -= begin;
    r.end -= begin;
    r.transferred = move ? c.work.transferred : Bytes{};
    r.payload = Bytes{};
    for (std::size_t k = 0; k < kMaxTiers; ++k) {
      t.read[k] += c.work.read[k];
      t.written[k] += c.work.written[k];
      r.payload += move ? c.work.read[k] : c.work.read[k] + c.work.written[k];
    }
    if (move) t.transferred[machine.links[b.steps[i].link].from] += c.work.transferred;
    t.known_joules += Joules{c.known_joules};
    t.steps_of_unknown_energy += c.joules ? 0 : 1;
  }
  t.seconds = now - begin;
  t.repetitions = 1;
  t.compute_busy_seconds = busy;
  t.io_wait_seconds = io_wait;
}

SimEngine::SimEngine(const Graph& graph, const Machine& machine, const Plan& plan, Provenance provenance)
    : impl_(std::make_unique<Impl>(graph, machine, plan, provenance)) {}
SimEngine::~SimEngine() = default;

const Trace& SimEngine::run(u32 body, const Bindings& bindings) {
  Impl& s = *impl_;
  if (body >= s.plan.bodies.size()) throw Error(ErrorKind::usage, "the plan has no such body");
  const Body& b = s.plan.bodies[body];
  if (!b.once) {
    check_symbols(s.graph, bindings.symbols);
    if (!b.holds(bindings.symbols))
      throw Error(ErrorKind::usage, "the symbols lie outside the body's intervals", b.name);
    ++s.repetition;
  }
  s.price(body, b.once ? std::span<const i64>(b.typical) : bindings.symbols);
  s.body = body;
  s.once = b.once;
  s.computes = s.gathers = s.gathers_begun = s.loads = s.loads_begun = 0;
  s.gather_times.assign(s.schedule().gathers.size(), {});
  s.load_times.assign(s.schedule().loads.size(), {});
  s.busy = s.io_wait = 0;
  s.trace.body = body;
  s.trace.records.assign(b.steps.size(), {});
  const double begin = s.now;
  for (;;) {
    s.submit();
    s.start_compute();
    if (s.finished()) break;
    s.advance();
  }
  s.report(begin);
  return s.trace;
}

void SimEngine::reset_state() {}

}  // namespace terrace
