// The memory of one tier: anonymous, aligned to huge pages, and charged in full from the start.
#pragma once

#include <cstddef>

#include "terrace/core/units.h"

namespace terrace::run {

inline constexpr u64 kHugePage = u64{2} << 20;

/// Mapped, zeroed memory. Whole 2 MiB parts ask for huge pages (transparent ones: those are what a cgroup charges), the
/// rest has ordinary ones, so that no byte more than the plan's is charged.
class ArenaMemory {
 public:
  ArenaMemory() = default;
  /// Throws Error(failure) when the kernel refuses.
  explicit ArenaMemory(Bytes bytes);
  ArenaMemory(ArenaMemory&& o) noexcept;
  ArenaMemory& operator=(ArenaMemory&& o) noexcept;
  ~ArenaMemory();
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  u64 mapped_ = 0;
};

}  // namespace terrace::run
