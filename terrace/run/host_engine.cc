#include "terrace/run/host_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/run/host_impl.h"

namespace terrace {
namespace {

/// Spinning near full residency saves the time of waking up; where steps wait for the disk it costs more than it saves.
int spins(const Plan& plan) { return plan.stream.empty() ? 2000 : 300; }

/// Whether the kernel computes this node: a plan file may name any.
bool computes(const Kernel& k, const Graph& graph, const Node& n) {
  if (k.op != n.op->name) return false;
  if (k.formats.empty()) return true;
  std::vector<Format> formats;
  for (const auto* list : {&n.inputs, &n.outputs})
    for (ValueId v : *list) formats.push_back({graph.value(v).spec.dtype, graph.value(v).spec.layout});
  return k.formats == formats;
}

std::vector<KernelFn> find_kernels(const Graph& graph, const Plan& plan, const KernelTable& table) {
  std::vector<const Kernel*> kernels;
  for (const std::string& name : plan.kernels) {
    kernels.push_back(table.find_by_name(name));
    if (kernels.back() == nullptr)
      throw Error(ErrorKind::usage, "the processor, build or chosen instruction set has no such kernel", name,
                  "plan again here, with the same --isa");
  }
  for (const Body& b : plan.bodies)
    for (const Step& s : b.steps)
      if (s.kind == StepKind::compute && !computes(*kernels[s.kernel], graph, graph.node(s.node)))
        throw Error(ErrorKind::bad_file, "the plan's kernel does not take the formats of its operands",
                    fmt::format("{}, {}", plan.kernels[s.kernel], graph.value(graph.node(s.node).outputs[0]).name),
                    "plan again");
  std::vector<KernelFn> fns;
  for (const Kernel* k : kernels) fns.push_back(k->fn);
  return fns;
}

std::vector<run::ArenaMemory> map_arenas(const Plan& plan, std::vector<std::byte*>& bases) {
  std::vector<run::ArenaMemory> memory;
  bases.assign(std::max<std::size_t>(plan.tiers.size(), 1), nullptr);
  for (const Arena& a : plan.arenas) {
    if (a.tier >= bases.size()) throw Error(ErrorKind::usage, "an arena lies in no tier of the plan");
    memory.emplace_back(a.bytes);
    bases[a.tier] = memory.back().data();
  }
  return memory;
}

}  // namespace

HostEngine::Impl::Impl(const Graph& g, const Plan& p, const KernelTable& kernels, HostOptions o)
    : graph(g),
      plan(p),
      options(std::move(o)),
      kernel_fns(find_kernels(g, p, kernels)),
      arenas(map_arenas(p, bases)),
      schedules(make_schedules(p, layout)),
      once_done(p.bodies.size(), 0),
      symbols(g.symbols().size()),
      accounted(symbols),
      in_shapes(symbols.size(), 0),
      workers(std::max(1, p.workers), spins(p), [this](int w) { walk(w); }),
      lane(p, options, layout, bases, workers) {
  for (const Value& v : g.values())
    for (int a = 0; a < v.spec.shape.rank; ++a)
      if (v.spec.shape[a].is_symbol()) in_shapes[static_cast<std::size_t>(v.spec.shape[a].symbol)] = 1;
  std::size_t most_views = 0, most_steps = 0;
  for (const auto& s : schedules) most_views = std::max<std::size_t>(most_views, s.n_views);
  for (const Body& b : p.bodies) most_steps = std::max(most_steps, b.steps.size());
  views.resize(most_views);
  trace.records.reserve(most_steps);
}

void HostEngine::Impl::reset_state() {
  for (const Placement& p : plan.placements)
    if (p.use == Use::state && p.owner == Owner::plan) std::memset(bases[p.tier] + p.offset, 0, p.bytes.count);
}

void HostEngine::Impl::check_cancel() const {
  if (options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed))
    throw Error(ErrorKind::interrupted, "interrupted");
}

void HostEngine::Impl::call(const ComputeEntry& e, int worker) const {
  const Step& step = plan.bodies[body].steps[e.step];
  const Node& node = graph.node(step.node);
  KernelArgs args;
  args.in = views.data() + e.first_view;
  args.out = args.in + step.n_reads;
  args.ints = node.attrs.ints.data();
  args.floats = node.attrs.floats.data();
  for (std::size_t i = 0; i < node.attrs.symbols.size(); ++i)
    if (node.attrs.symbols[i] != kNoSymbol) args.sym[i] = symbols[static_cast<std::size_t>(node.attrs.symbols[i])];
  if (step.scratch != kNone) {
    const Placement& p = plan.placements[step.scratch];
    args.scratch = bases[p.tier] + p.offset;
    args.scratch_bytes = p.bytes.count;
  }
  args.worker = worker;
  args.workers = step.workers;
  args.core_cache_bytes = plan.core_cache.count;
  kernel_fns[step.kernel](args);
}

void HostEngine::Impl::walk(int worker) {
  const Body& b = plan.bodies[body];
  u32 done = base;
  for (const ComputeEntry& e : schedule->computes) {
    if (b.steps[e.step].workers > 1) {
      if (!ready(e.wait) && !workers.wait([&] { return ready(e.wait); })) return;
      call(e, worker);
    }
    workers.publish(worker, ++done);
  }
}

/// Worker 0 serves the I/O lane while it waits; what it waits for may hang on it.
void HostEngine::Impl::wait_first(const Wait& w, double& now) {
  int spun = 0;
  for (;;) {
    const u32 seen = workers.total();  // before looking: progress made from here on keeps us awake
    lane.pump();
    if (ready(w)) break;
    check_cancel();
    if (!lane.ready(w)) {
      const double from = run::now_seconds();
      const bool slept = lane.sleep();
      io_wait += run::now_seconds() - from;
      if (slept) continue;
      if (workers.count() == 1) throw Error(ErrorKind::failure, "the plan waits for itself", plan.bodies[body].name);
    }
    if (++spun < spins(plan)) {
      run::pause_briefly();
    } else {
      // Whatever it is, another worker's progress comes first.
      workers.sleep_unless([&] { return ready(w) || workers.total() != seen; });
    }
  }
  now = run::now_seconds();
}

void HostEngine::Impl::walk_first() {
  const bool serve = !plan.stream.empty() || !schedule->gathers.empty();
  double now = run::now_seconds();
  const double begin = now;
  u32 done = base;
  for (const ComputeEntry& e : schedule->computes) {
    if (serve) lane.pump();
    check_cancel();
    if (!ready(e.wait)) wait_first(e.wait, now);
    StepRecord& r = trace.records[e.step];
    r.start = now - begin;
    call(e, 0);
    now = run::now_seconds();
    r.end = now - begin;
    busy += r.end - r.start;
    workers.publish(0, ++done);
  }
  const auto last = static_cast<i32>(schedule->computes.size()) - 1;
  wait_first({last, static_cast<i32>(plan.stream.size()) - 1, static_cast<i32>(schedule->gathers.size()) - 1}, now);
  base = done;
  if (serve) lane.check_unchanged();
  finish(begin, now);
}

void HostEngine::Impl::finish(double begin, double end) {
  Totals& t = trace.totals;
  t = fixed;
  t += changing;
  const Body& b = plan.bodies[body];
  auto record = [&](u32 step, const run::Transfer& x) {
    StepRecord& r = trace.records[step];
    r.start = x.start - begin;
    r.end = x.end - begin;
    r.transferred = x.transferred;
    t.transferred[plan.placements[b.reads(b.steps[step])[0].placement].tier] += x.transferred;
  };
  for (u32 i = 0; i < schedule->ring.size(); ++i) record(schedule->ring[i].step, lane.ring_transfer(i));
  for (std::size_t i = 0; i < schedule->gathers.size(); ++i) record(schedule->gathers[i].step, lane.gather_transfer(i));
  for (u32 step : schedule->loads) record(step, load_transfers[step]);
  t.seconds = end - begin;
  t.repetitions = 1;
  t.compute_busy_seconds = busy;
  t.io_wait_seconds = io_wait;
  t.steps_of_unknown_energy = static_cast<i64>(b.steps.size());  // nothing here measures joules
}

void HostEngine::Impl::load(u32 b) {
  bind(b, plan.bodies[b].typical);
  changing = Totals{};
  load_transfers.assign(plan.bodies[b].steps.size(), {});
  const double begin = run::now_seconds();
  lane.load(plan.bodies[b], schedules[b], load_transfers);
  lane.check_unchanged();
  io_wait = run::now_seconds() - begin;
  finish(begin, run::now_seconds());
  load_transfers = {};
  once_done[b] = 1;
  body = kNone;  // nothing is bound to a body that repeats
  lane.pump();   // the first repetition's blocks
}

const Trace& HostEngine::Impl::run(u32 b, const Bindings& bindings) {
  if (lost) throw Error(ErrorKind::failure, "state is lost: an earlier run failed", {}, "start again");
  if (b >= plan.bodies.size()) throw Error(ErrorKind::usage, "the plan has no such body");
  busy = io_wait = 0;
  const bool once = plan.bodies[b].once;
  if (!once) prepare(b, bindings);
  try {
    if (once) {
      load(b);
    } else {
      lane.begin(plan.bodies[b], *schedule, base, views.data());
      workers.start();
      walk_first();
      lane.pump();  // the next repetition's blocks travel while the caller is busy
    }
  } catch (...) {
    lost = true;
    if (!once) workers.abort_and_join();
    throw;
  }
  return trace;
}

void HostEngine::Impl::run_watched(u32 b, const Bindings& bindings,
                                   const std::function<bool(const Node&, std::span<const TensorView>)>& look) {
  if (lost) throw Error(ErrorKind::failure, "state is lost: an earlier run failed", {}, "start again");
  if (b >= plan.bodies.size() || plan.bodies[b].once || !plan.stream.empty() || !schedules[b].gathers.empty())
    throw Error(ErrorKind::usage, "only bodies that repeat without reading files can be watched");
  prepare(b, bindings);
  lost = true;
  for (const ComputeEntry& e : schedule->computes) {
    const Step& step = plan.bodies[b].steps[e.step];
    for (int w = 0; w < step.workers; ++w) call(e, w);
    if (!look(graph.node(step.node), {views.data() + e.first_view + step.n_reads, step.n_writes})) return;
  }
  lost = false;
}

HostEngine::HostEngine(const Graph& graph, const Plan& plan, const KernelTable& kernels, HostOptions options)
    : impl_(std::make_unique<Impl>(graph, plan, kernels, std::move(options))) {}
HostEngine::~HostEngine() = default;

const Trace& HostEngine::run(u32 body, const Bindings& bindings) { return impl_->run(body, bindings); }
void HostEngine::run_watched(u32 body, const Bindings& bindings,
                             const std::function<bool(const Node&, std::span<const TensorView>)>& look) {
  impl_->run_watched(body, bindings, look);
}
void HostEngine::reset_state() { impl_->reset_state(); }
std::string HostEngine::io_path() const { return impl_->lane.path(); }

TensorView HostEngine::state(ValueId v) const {
  const Graph& g = impl_->graph;
  if (v >= g.values().size() || g.value(g.root_of(v)).kind != ValueKind::state)
    throw Error(ErrorKind::usage, "is no state", v < g.values().size() ? g.value(v).name : "");
  for (const Placement& p : impl_->plan.placements)
    if (p.value == g.root_of(v) && p.use == Use::state)
      return make_view(g.value(v).spec, impl_->bases[p.tier] + p.offset, {});
  throw Error(ErrorKind::failure, "the plan keeps no such state", g.value(v).name);
}

TensorView HostEngine::output(ValueId v) const {
  const Graph& g = impl_->graph;
  if (std::find(g.outputs().begin(), g.outputs().end(), v) == g.outputs().end() || impl_->body == kNone)
    throw Error(ErrorKind::usage, "is no output, or nothing has run", v < g.values().size() ? g.value(v).name : "");
  const ValueId root = g.root_of(v);
  for (const Placement& p : impl_->plan.placements)
    if (p.value == root && p.owner == Owner::plan && p.row_end == p.row_begin &&
        (p.body == kNone || p.body == impl_->body))
      return make_view(g.value(v).spec, impl_->bases[p.tier] + p.offset, impl_->symbols);
  throw Error(ErrorKind::failure, "the plan keeps no such output", g.value(v).name);
}

}  // namespace terrace
