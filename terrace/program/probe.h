// Measuring the machine this runs on, in a few seconds.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "terrace/kernels/kernel.h"
#include "terrace/machine/machine.h"

namespace terrace {

struct ProbeOptions {
  /// A file or a folder on the file system to measure; empty: no disk tier. A file of at least 32 MiB is read itself;
  /// otherwise a temporary file of 256 MiB is written beside it and removed.
  std::string path{};
  int threads = 1;
  /// Soft limit for all measurements together, shared out among them.
  double seconds_budget = 4;
  Isa isa = Isa::portable;
  /// Told what is being measured, one short line each; may be empty.
  std::function<void(std::string_view)> progress{};
  /// Told at the end what makes the figures doubtful; may be empty.
  std::function<void(std::string_view)> warn{};
  /// The terrace-topology program; empty or missing: caches come from /sys.
  std::string topology_program{};
};

/// Tiers l1..l3 (hardware), dram, disk; a link disk -> dram; one unit "cpu" with a rate for each kernel of `table` that
/// would be chosen at `isa`, for one thread and for all. Bandwidths are medians, times of computing what others
/// disturbed least; buffers are far larger than the last cache where memory is meant. Throws Error(failure) when memory
/// or the path cannot be measured.
Machine probe_host(const ProbeOptions& options, const KernelTable& table);

/// This host's processor as the system names it; "unknown" where it does not.
std::string processor_name();

/// Whether others took so much of the processors while this was measured that it should be measured again.
bool probed_while_busy(const Machine& machine);
/// Whether they do now, by looking on for `seconds`.
bool busy_now(double seconds);

}  // namespace terrace
