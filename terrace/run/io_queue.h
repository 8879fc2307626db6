// Reads in flight: two ways to have them, one interface. Nothing allocates after construction.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::run {

/// One contiguous read. `slot` names it in its completion and is unique among those in flight.
struct IoRequest {
  u32 slot = 0;
  int fd = -1;
  u64 offset = 0;
  std::byte* to = nullptr;
  u32 bytes = 0;
};

struct IoCompletion {
  u32 slot = 0;
  i32 result = 0;  ///< bytes read, or -errno
};

class IoQueue {
 public:
  /// Waits for what is in flight, so that memory may be unmapped afterwards.
  virtual ~IoQueue() = default;
  /// Hands requests over; at most the capacity given at construction may be in flight.
  virtual void submit(std::span<const IoRequest> requests) = 0;
  /// Takes completions; `wait`: sleeps until there is at least one (one must be in flight).
  virtual std::size_t reap(std::span<IoCompletion> out, bool wait) = 0;
};

/// io_uring owned by the thread that computes: no thread and no polling of its own. Null where the kernel refuses it
/// (`error` says why).
std::unique_ptr<IoQueue> make_uring_queue(u32 capacity, std::string& error);

/// Two threads that pread. `drop_cache`: pages that buffered reads leave behind are dropped at once.
std::unique_ptr<IoQueue> make_pread_queue(u32 capacity, bool drop_cache);

}  // namespace terrace::run
