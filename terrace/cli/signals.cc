#include "terrace/cli/signals.h"

#include <signal.h>

namespace terrace::cli {
namespace {

std::atomic<bool> g_cancelled{false}, g_aborted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int) {
  if (g_cancelled.exchange(true)) g_aborted.store(true);
}

}  // namespace

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);  // no SA_RESTART: a chat that waits for a line shall notice
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

const std::atomic<bool>& cancelled() { return g_cancelled; }
std::atomic<bool>& aborted() { return g_aborted; }

}  // namespace terrace::cli
