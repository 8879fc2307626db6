// What the engine itself takes for a step: a chain of small steps, run while nothing of it is in the caches, as in a
// decode whose weights have just passed through them.
#include <algorithm>
#include <array>
#include <thread>

#include "terrace/machine/cost.h"
#include "terrace/ops/ops.h"
#include "terrace/program/probe_parts.h"
#include "terrace/program/program.h"

namespace terrace::probe {

double engine_step_seconds(const Machine& m, int threads, Isa isa, const HugeBuffer& evict) {
  constexpr int kSteps = 256, kRounds = 15, kMostRounds = 40;
  constexpr i64 kWidth = 1536;
  GraphBuilder b;
  ValueId x = b.input("x", {DType::f32, Layout::dense, {Dim(1), Dim(kWidth)}});
  const ValueId input = x;
  for (int i = 0; i < kSteps; ++i) x = b.call(ops::silu, {x});
  b.output(x);
  PlanRequest request;
  request.bodies = {{"step", {}, {}, 1, kNoSymbol}};
  request.threads = threads;
  request.isa = isa;
  Program program = compile(b.finish(), m, request);
  {
    const Pinned workers(Pinned::others, threads);
    program.load({});
  }
  const Pinned caller(Pinned::first, threads);

  const std::array<float, kWidth> ones{};
  const InputBinding in{input, std::as_bytes(std::span(ones))};
  std::vector<double> times;
  for (int round = 0; round < kRounds || (round < kMostRounds && !settled(times)); ++round) {
    volatile u64 sum = 0;
    for (u64 i = 0; i < evict.size(); i += 64) sum = sum + static_cast<u64>(evict.data()[i]);
    std::this_thread::yield();  // begins with a time slice that others have not half used
    const double t = now();
    program.run({{}, {&in, 1}});
    times.push_back((now() - t) / kSteps);
  }
  // Less the arithmetic, which is accounted for by itself.
  const Plan& plan = program.plan();
  const Body& body = plan.bodies[plan.find_body("step")];
  double work = 0;
  for (const Step& s : body.steps) work += s.seconds.value - m.units[0].step_overhead.value;
  return std::max(m.units[0].step_overhead.value, undisturbed(times, 0.5) - work / kSteps);
}

}  // namespace terrace::probe
