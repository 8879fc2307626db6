// SIGINT and SIGTERM end the process cleanly. The one place with state of the process, since handlers have no other.
#pragma once

#include <atomic>

namespace terrace::cli {

/// From here on a signal ends the process at once: with a message, exit code 130, and no temporary file left. A reader
/// of the output that goes away is an error of writing, no signal.
void catch_signals();

/// While one lives there is something to end in order: the first signal only sets cancelled(), the second aborted(),
/// and the third ends the process at once.
class EndInOrder {
 public:
  EndInOrder();
  ~EndInOrder();
  EndInOrder(const EndInOrder&) = delete;
  EndInOrder& operator=(const EndInOrder&) = delete;
};
/// Set by the first signal: end after the step at hand, and report.
const std::atomic<bool>& cancelled();
/// Set by the second one: give up within the step.
std::atomic<bool>& aborted();

/// While one lives, a signal that ends the process removes this file. One at a time; `path` must outlive it.
class RemovedOnSignal {
 public:
  explicit RemovedOnSignal(const char* path);
  ~RemovedOnSignal();
  RemovedOnSignal(const RemovedOnSignal&) = delete;
  RemovedOnSignal& operator=(const RemovedOnSignal&) = delete;
};

/// Sleeps until there is something to read or a signal has come, however close before. False after a signal.
bool wait_for_input(int fd);

}  // namespace terrace::cli
