// A body made ready to walk: of each step's edges only the latest in each lane is left to wait for.
#pragma once

#include <vector>

#include "terrace/plan/plan.h"

namespace terrace {

/// What must have happened in the same repetition before a step may start; -1: nothing. Compute steps are taken in
/// order, blocks arrive in order and gathers are counted in order, so the latest of each stands for all before it.
struct Wait {
  i32 compute = -1;  ///< ordinal of a compute step that all workers have ended
  i32 block = -1;    ///< stream block that has arrived
  i32 gather = -1;   ///< ordinal of a gather that has ended
};

struct ComputeEntry {
  u32 step = 0;
  u32 first_view = 0;  ///< in the engine's table of bound views
  Wait wait;
};

struct RingEntry {
  u32 step = 0;
  Wait wait;
  /// Its bytes are free for the next repetition once this compute step of this body has ended; -1: at once.
  i32 free_after = -1;
};

struct GatherEntry {
  u32 step = 0;
  u32 first_view = 0;
  Wait wait;
};

struct BodySchedule {
  std::vector<ComputeEntry> computes;
  std::vector<RingEntry> ring;  ///< by stream block
  std::vector<GatherEntry> gathers;
  std::vector<u32> loads;  ///< Moves of a body that runs once
  u32 n_views = 0;
};

/// What all repeated bodies have in common about the ring.
struct RingLayout {
  /// By block: how many blocks before it, counting around, the last one came that shares bytes with it.
  std::vector<u32> distance;
  /// By block: false if its bytes wait for a step of its own repetition, so it cannot be brought in before that begins.
  std::vector<char> may_run_ahead;
};

/// Throws Error(usage) naming the step for a plan that the engines cannot carry out.
std::vector<BodySchedule> make_schedules(const Plan& plan, RingLayout& layout);

}  // namespace terrace
