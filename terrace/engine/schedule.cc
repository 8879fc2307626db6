#include "terrace/engine/schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "terrace/core/error.h"

namespace terrace {
namespace {

bool is_compute(const Step& s) { return s.kind == StepKind::compute; }
bool is_ring(const Step& s) { return s.kind == StepKind::move && !s.gather && s.block != kNone; }

[[noreturn]] void refuse(const Body& body, u32 step, const char* why) {
  throw Error(ErrorKind::usage, fmt::format("this engine cannot carry out the plan: {}", why),
              fmt::format("body {}, step {}", body.name, step));
}

/// By step: its place among the computes, blocks or gathers of its body.
std::vector<i32> ordinals(const Body& body) {
  std::vector<i32> ordinal(body.steps.size(), -1);
  i32 computes = 0, gathers = 0;
  for (std::size_t i = 0; i < body.steps.size(); ++i) {
    const Step& s = body.steps[i];
    ordinal[i] = is_compute(s) ? computes++ : s.gather ? gathers++ : static_cast<i32>(s.block);
  }
  return ordinal;
}

Wait wait_of(const Body& body, u32 step, const std::vector<i32>& ordinal) {
  Wait w;
  for (const Edge& e : body.after(body.steps[step])) {
    if (e.kind == Edge::released) continue;
    if (e.of >= body.steps.size()) refuse(body, step, "an edge names no step");
    const Step& before = body.steps[e.of];
    if (!is_compute(before) && !before.gather && !is_ring(before))
      refuse(body, step, "an edge names a Move outside the ring");
    i32& latest = is_compute(before) ? w.compute : before.gather ? w.gather : w.block;
    latest = std::max(latest, ordinal[e.of]);
  }
  return w;
}

/// By stream block: the latest compute step of the body that reads it.
std::vector<i32> last_readers(const Plan& plan, const Body& body, const std::vector<i32>& ordinal) {
  std::vector<i32> by_placement(plan.placements.size(), -1);
  for (std::size_t i = 0; i < body.steps.size(); ++i)
    if (is_compute(body.steps[i]))
      for (const Operand& o : body.reads(body.steps[i]))
        by_placement[o.placement] = std::max(by_placement[o.placement], ordinal[i]);
  std::vector<i32> last;
  for (const StreamBlock& b : plan.stream) last.push_back(by_placement[b.to]);
  return last;
}

void add_step(const Body& body, u32 i, const std::vector<i32>& ordinal, BodySchedule& s) {
  const Step& step = body.steps[i];
  if (body.once) {
    if (is_compute(step) || step.gather || step.block != kNone)
      refuse(body, i, "a body that runs once holds more than Moves");
    s.loads.push_back(i);
    return;
  }
  const Wait wait = wait_of(body, i, ordinal);
  const auto operands = static_cast<u32>(step.n_reads + step.n_writes);
  if (is_compute(step)) {
    s.computes.push_back({i, s.n_views, wait});
    s.n_views += operands;
  } else if (step.gather) {
    if (step.n_reads != 2 || step.n_writes != 1 || step.scratch == kNone)
      refuse(body, i, "a gather lacks table, ids, rows or staging");
    s.gathers.push_back({i, s.n_views, wait});
    s.n_views += operands;
  } else if (is_ring(step)) {
    if (step.block != s.ring.size()) refuse(body, i, "Moves of the ring are not in stream order");
    s.ring.push_back({i, wait, -1});
  } else {
    refuse(body, i, "a repeated body moves something outside the ring");
  }
}

std::vector<u32> ring_distances(const Plan& plan) {
  auto share = [&](const Placement& a, const Placement& b) {
    return a.tier == b.tier && a.offset - a.pad_before < b.offset + b.bytes.count + b.pad_after &&
           b.offset - b.pad_before < a.offset + a.bytes.count + a.pad_after;
  };
  const std::size_t n = plan.stream.size();
  std::vector<u32> distance(n);
  for (std::size_t b = 0; b < n; ++b) {
    std::size_t d = 1;
    while (d < n && !share(plan.placements[plan.stream[b].to], plan.placements[plan.stream[(b + n - d) % n].to])) ++d;
    distance[b] = static_cast<u32>(d);
  }
  return distance;
}

}  // namespace

std::vector<BodySchedule> make_schedules(const Plan& plan, RingLayout& layout) {
  const std::size_t blocks = plan.stream.size();
  layout.distance = ring_distances(plan);
  layout.may_run_ahead.assign(blocks, 1);
  std::vector<std::vector<u32>> released(
      blocks);  // by block: those that must have been released, in any body's opinion
  std::vector<BodySchedule> schedules;
  for (const Body& body : plan.bodies) {
    BodySchedule s;
    const std::vector<i32> ordinal = ordinals(body);
    for (u32 i = 0; i < body.steps.size(); ++i) add_step(body, i, ordinal, s);
    if (!body.once && s.ring.size() != blocks) refuse(body, 0, "a repeated body does not bring every stream block");
    for (std::size_t b = 0; b < s.ring.size(); ++b)
      for (const Edge& e : body.after(body.steps[s.ring[b].step])) {
        if (e.kind == Edge::done)
          layout.may_run_ahead[b] = 0;
        else if (e.of >= blocks)
          refuse(body, s.ring[b].step, "an edge names no stream block");
        else
          released[b].push_back(e.of);
      }
    schedules.push_back(std::move(s));
  }
  for (std::size_t i = 0; i < schedules.size(); ++i) {
    if (plan.bodies[i].once) continue;
    const std::vector<i32> last = last_readers(plan, plan.bodies[i], ordinals(plan.bodies[i]));
    for (std::size_t b = 0; b < blocks; ++b)
      for (u32 r : released[b]) schedules[i].ring[b].free_after = std::max(schedules[i].ring[b].free_after, last[r]);
  }
  return schedules;
}

}  // namespace terrace
