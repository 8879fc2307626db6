#include "terrace/program/class_table.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"
#include "terrace/plan/estimator.h"
#include "terrace/program/probe_parts.h"

namespace terrace {
namespace {

constexpr int kClasses = static_cast<int>(OpClass::optimizer) + 1;

/// The fastest of `tries` calls of an op's f32 kernel on the whole team, in seconds.
double fastest(probe::Team& team, Isa isa, const OpDef& op, std::vector<TensorView>& views, const Attrs& attrs,
               int tries) {
  const KernelTable kernels = cpu_kernels(isa);
  const Kernel* kernel = kernels.find(op.name, std::vector<Format>(views.size()), isa);
  if (kernel == nullptr) throw Error(ErrorKind::failure, "there is no kernel for floats", std::string(op.name));
  const auto inputs = static_cast<std::size_t>(op.n_inputs);
  const std::span<const TensorView> all(views);
  const u64 scratch = op.scratch({all.first(inputs), all.subspan(inputs), attrs, {}}, team.size()).count;
  const probe::HugeBuffer room(scratch + 64);
  KernelArgs args;
  args.in = views.data();
  args.out = views.data() + inputs;
  args.ints = attrs.ints.data();
  args.floats = attrs.floats.data();
  args.scratch = room.data();
  args.scratch_bytes = scratch;
  args.workers = team.size();
  const std::function<void(int)> job = [&](int worker) {
    KernelArgs mine = args;
    mine.worker = worker;
    kernel->fn(mine);
  };
  double best = INFINITY;
  for (int i = 0; i < tries; ++i) {
    const double begin = probe::now();
    team.run(job);
    best = std::min(best, probe::now() - begin);
  }
  return best;
}

/// Operations a second of square products whose operands stay in the caches.
double product_rate(probe::Team& team, Isa isa) {
  constexpr i64 kSide = 1024;
  const TensorSpec spec{DType::f32, Layout::dense, {Dim(kSide), Dim(kSide)}};
  const u64 bytes = spec.bytes({}).count;
  const probe::HugeBuffer memory(3 * bytes);
  std::vector<TensorView> v;
  for (u64 i = 0; i < 3; ++i) v.push_back(make_view(spec, memory.data() + i * bytes, {}));
  Attrs attrs;
  attrs.ints = {0, 1, 1, 0};
  return 2.0 * kSide * kSide * kSide / fastest(team, isa, ops::matmul, v, attrs, 20);
}

/// Bytes a second of AdamW over `memory`: four streams are read and three written, which asks more of the memory than
/// one that is read.
double update_rate(probe::Team& team, Isa isa, const probe::HugeBuffer& memory) {
  const u64 bytes = round_down(memory.size() / 4, 4096);
  const TensorSpec spec{DType::f32, Layout::dense, {Dim(static_cast<i64>(bytes / 4))}};
  float rate[4] = {1e-3f, 1, 1, 1};
  std::vector<TensorView> v;
  for (u64 i = 0; i < 4; ++i) v.push_back(make_view(spec, memory.data() + i * bytes, {}));
  v.push_back(make_view({DType::f32, Layout::dense, {Dim(4)}}, reinterpret_cast<std::byte*>(rate), {}));
  for (std::size_t i = 0; i < 3; ++i) v.push_back(TensorView(v[i]));
  Attrs attrs;
  attrs.floats = {0.9, 0.95, 1e-8, 0.1};
  return 7 * static_cast<double>(bytes) / fastest(team, isa, ops::adamw, v, attrs, 10);
}

/// Of a Move its own, of a compute until the next one begins.
double seconds_of(const Body& body, const Trace& trace, std::size_t i) {
  const double start = trace.records[i].start;
  if (body.steps[i].kind == StepKind::move) return trace.records[i].end - start;
  for (std::size_t next = i + 1; next < body.steps.size(); ++next)
    if (body.steps[next].kind == StepKind::compute) return trace.records[next].start - start;
  return trace.totals.seconds - start;
}

}  // namespace

Roofline measure_roofline(int threads, Isa isa, const Roofline& known) {
  probe::Team team(threads);
  Roofline r = known;
  r.peak = std::max(r.peak, OpsPerSecond{product_rate(team, isa)});
  const u64 each = u64{128} << 20;
  const probe::HugeBuffer buffer(each * static_cast<u64>(threads));
  for (int i = 0; i < 5; ++i)
    r.bandwidth = std::max(r.bandwidth, BytesPerSecond{probe::read_rate(team, threads, buffer, each, 0.1)});
  r.bandwidth = std::max(r.bandwidth, BytesPerSecond{update_rate(team, isa, buffer)});
  return r;
}

std::vector<ClassRow> class_table(const Graph& graph, const Plan& plan, const Trace& measured, const Trace& predicted,
                                  const Roofline& roofline) {
  std::array<ClassRow, kClasses + 1> by_class;
  for (int c = 0; c < kClasses; ++c) by_class[static_cast<std::size_t>(c)].name = name_of(static_cast<OpClass>(c));
  by_class[kClasses].name = "move";
  const Body& body = plan.bodies[measured.body];
  ClassRow rest{"unaccounted", 0, measured.totals.seconds, predicted.totals.seconds, 0, {}, 0};
  for (std::size_t i = 0; i < body.steps.size(); ++i) {
    const Step& step = body.steps[i];
    const bool compute = step.kind == StepKind::compute;
    const auto at = compute ? static_cast<std::size_t>(graph.node(step.node).op->op_class) : std::size_t{kClasses};
    ClassRow& row = by_class[at];
    const StepWork work = step_work(graph, plan, body, step, body.typical);
    Bytes bytes;
    for (std::size_t t = 0; t < std::size(work.read); ++t) bytes += work.read[t] + work.written[t];
    const double seconds = seconds_of(body, measured, i), told = seconds_of(body, predicted, i);
    ++row.steps;
    row.seconds += seconds;
    row.predicted_seconds += told;
    row.flops += work.flops;
    row.bytes += bytes;
    if (compute) {  // Moves go beside the computes
      row.bound_seconds += std::max(work.flops / roofline.peak.value, (bytes / roofline.bandwidth).value);
      rest.seconds -= seconds;
      rest.predicted_seconds -= told;
    }
  }
  std::vector<ClassRow> rows;
  for (ClassRow& r : by_class)
    if (r.steps > 0) rows.push_back(std::move(r));
  rows.push_back(std::move(rest));
  return rows;
}

}  // namespace terrace
