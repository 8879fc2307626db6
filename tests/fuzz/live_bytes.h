// Holds a fuzz target to what its input justifies: while one lives, the bytes on the heap may not pass a limit.
#pragma once

#include <cstddef>

namespace terrace::fuzz {

/// Counts from zero at construction. The allocation that passes the limit ends the program, so that its stack is shown.
/// Counts only in programs with the address sanitizer, whose hooks it uses; one at a time.
class LiveBytesLimit {
 public:
  explicit LiveBytesLimit(std::size_t most);
  ~LiveBytesLimit();
  LiveBytesLimit(const LiveBytesLimit&) = delete;
  LiveBytesLimit& operator=(const LiveBytesLimit&) = delete;
};

/// Most bytes since the last limit began.
std::size_t peak_bytes();

}  // namespace terrace::fuzz
