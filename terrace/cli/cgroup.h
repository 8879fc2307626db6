// Memory cgroups, version 1 and 2, as far as a budget needs them.
#pragma once

#include <optional>
#include <string>

#include "terrace/core/units.h"

namespace terrace::cli {

struct Cgroup {
  std::string folder;  ///< absolute path below /sys/fs/cgroup
  int version = 2;
  std::string aside{};  ///< where make_cgroup() moved the calling process, if it had to
};

/// The memory cgroup this process is in; nothing if there is none that can be seen.
std::optional<Cgroup> own_cgroup();
/// True if nobody else is in it, so that its figures are this process's.
bool is_alone_in(const Cgroup& g);
/// Where a cgroup may be made.
enum class Place {
  below,   ///< as a child of this process's own
  nearby,  ///< version 2, where a group with processes has no limited children: this process steps aside if it is
           ///< alone in its group, else beside it. Not the way where a manager of cgroups can be asked
};
/// A new cgroup with this limit and no swap; nothing where that is not allowed (`why` says so).
std::optional<Cgroup> make_cgroup(Bytes limit, Place place, std::string& why);
/// Moves the calling process.
bool join(const Cgroup& g);
/// Once it is empty; the calling process goes back to where it was.
void remove(const Cgroup& g);
/// Most bytes ever charged to it.
std::optional<Bytes> peak_of(const Cgroup& g);
/// Mapped file pages (of the binary, say) that are charged to it.
Bytes mapped_files_in(const Cgroup& g);
/// Processes that the kernel killed in it for want of memory.
u64 kills_in(const Cgroup& g);

}  // namespace terrace::cli
