// SIGINT and SIGTERM ask for a clean end. The one place with state of the process, since handlers have no other.
#pragma once

#include <atomic>

namespace terrace::cli {

void catch_signals();
/// Set by the first signal: end after the step at hand, and report.
const std::atomic<bool>& cancelled();
/// Set by the second one: give up within the step.
std::atomic<bool>& aborted();

}  // namespace terrace::cli
