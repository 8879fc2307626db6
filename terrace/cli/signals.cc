#include "terrace/cli/signals.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

std::atomic<bool> g_in_order{false}, g_cancelled{false}, g_aborted{false};
std::atomic<int> g_direct{0};  ///< signals that came here, of which the waiting process has yet to pass on its own
std::atomic<const char*> g_file{nullptr};
std::atomic<pid_t> g_main{0};  ///< children that probe or plan say nothing
std::atomic<bool> g_terminal{false};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free);

void say(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;  // there is nobody left to tell
}

extern "C" void on_signal(int, siginfo_t* info, void*) {
  const int code = errno;
  // Queued: passed on from the process that waits for this one. If the terminal told both, this one knows already.
  if (info->si_code != SI_QUEUE) {
    ++g_direct;
  } else {
    int n = g_direct;
    while (n > 0 && !g_direct.compare_exchange_weak(n, n - 1)) {}
    if (n > 0) {
      errno = code;
      return;
    }
  }
  if (g_in_order && !g_aborted) {
    if (g_cancelled.exchange(true)) g_aborted = true;
    errno = code;
    return;
  }
  if (const char* file = g_file) ::unlink(file);
  if (g_main == ::getpid()) {
    if (g_terminal) say("\r\033[K");
    say("terrace: interrupted\n");
  }
  ::_exit(exit_code(ErrorKind::interrupted));
}

}  // namespace

void catch_signals() {
  g_main = ::getpid();
  g_terminal = ::isatty(STDERR_FILENO) == 1;
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;  // a stream that writes would lose what was interrupted
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, SIGTERM);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

EndInOrder::EndInOrder() { g_in_order = true; }
EndInOrder::~EndInOrder() { g_in_order = false; }

const std::atomic<bool>& cancelled() { return g_cancelled; }
std::atomic<bool>& aborted() { return g_aborted; }

RemovedOnSignal::RemovedOnSignal(const char* path) { g_file = path; }
RemovedOnSignal::~RemovedOnSignal() { g_file = nullptr; }

bool wait_for_input(int fd) {
  sigset_t both, before;
  sigemptyset(&both);
  sigaddset(&both, SIGINT);
  sigaddset(&both, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &both, &before);  // one that comes now is seen by ppoll
  pollfd p{fd, POLLIN, 0};
  int ready = 0;
  while (!g_cancelled && (ready = ::ppoll(&p, 1, nullptr, &before)) < 0 && errno == EINTR) {}
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return !g_cancelled;
}

}  // namespace terrace::cli
