// Makes the n-th call of operator new in this program throw (allocations_fail.cc, linked into the program, replaces
// it).
#pragma once

namespace terrace::faults {

/// While one lives, allocations are counted, by all threads, and the n-th fails (0: none).
class FailingAllocation {
 public:
  explicit FailingAllocation(long nth);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  static long count();
};

/// Allocations that have not been freed.
long live_allocations();

}  // namespace terrace::faults
