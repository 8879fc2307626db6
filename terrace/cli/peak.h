// The most memory this process has used, as the operating system counts it.
#pragma once

#include "terrace/core/units.h"

namespace terrace::cli {

struct Peak {
  Bytes bytes;
  const char* source = "proc";  ///< "cgroup" or "proc"
};

/// In a cgroup that holds nobody else: its peak plus resident file pages (which may be charged elsewhere: some may
/// count twice, none is left out). Otherwise VmHWM plus page tables.
Peak measure_peak();

}  // namespace terrace::cli
