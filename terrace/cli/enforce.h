// The budget held by the kernel: the work is done by this program started anew inside a memory cgroup of that size.
#pragma once

#include <optional>
#include <string>

#include "terrace/cli/args.h"

namespace terrace::cli {

struct Enforcement {
  bool enforced = false;
  std::string how;  ///< for people: "kernel (cgroup v1)", "not enforced: ..."
};

/// To be called before anything is loaded and before any thread exists. If it gives an exit code, the work has been
/// done by a child. Otherwise this process goes on, and `result` says under which conditions. Error(failure) with
/// --enforce kernel where the kernel's help cannot be had.
std::optional<int> enforce(const Args& args, Bytes budget, Enforcement& result);

}  // namespace terrace::cli
