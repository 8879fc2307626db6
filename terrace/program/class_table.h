// Where the time of a step goes: its trace by class of ops, beside what the hardware allows.
#pragma once

#include <string>
#include <vector>

#include "terrace/engine/trace.h"
#include "terrace/kernels/kernel.h"
#include "terrace/plan/plan.h"

namespace terrace {

/// The two ceilings of this host: what float products of 1024 x 1024 matrices reach, and what the better of reading
/// memory and AdamW over it does.
/// (Williams et al. 2009, doi 10.1145/1498765.1498785.)
struct Roofline {
  OpsPerSecond peak;
  BytesPerSecond bandwidth;
};
/// The best of several measurements of each, in about a second. Others may keep a shared machine busy for longer:
/// `known`, measured at another time, counts where it is better.
Roofline measure_roofline(int threads, Isa isa, const Roofline& known = {});

struct ClassRow {
  std::string name;  ///< of the OpClass; "move" for Moves; "unaccounted" for what no step accounts for
  i64 steps = 0;
  double seconds = 0, predicted_seconds = 0;
  double flops = 0;
  Bytes bytes;               ///< each operand once a step: what a cache keeps from one step to the next counts again
  double bound_seconds = 0;  ///< sum over steps of max(flops / peak, bytes / bandwidth)
};

/// A row for each class that occurs, in the order of OpClass, then Moves, then the rest of the repetition's time. A
/// compute's time runs until the next one begins, so that waiting for other workers is part of it. `predicted` is a
/// trace of the same body.
std::vector<ClassRow> class_table(const Graph& graph, const Plan& plan, const Trace& measured, const Trace& predicted,
                                  const Roofline& roofline);

}  // namespace terrace
