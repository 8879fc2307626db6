#include "terrace/cli/enforce.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "terrace/cli/cgroup.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/reserve.h"

namespace terrace::cli {
namespace {

volatile sig_atomic_t g_child = 0, g_signalled = 0;

/// Queued, so that the child can tell what is passed on from what a terminal sends to both: it ignores the former if it
/// has had the latter, which it has not if it began later.
extern "C" void pass_on(int signal, siginfo_t*, void*) {
  const int code = errno;
  g_signalled = 1;
  if (g_child > 0) ::sigqueue(static_cast<pid_t>(g_child), signal, {});
  errno = code;
}

/// The command line of the child: `front`, this program, its verb, where it is, and what followed. All must outlive it.
std::vector<const char*> command(const Args& args, const std::vector<std::string>& front, const char* mark) {
  std::vector<const char*> argv;
  for (const std::string& s : front) argv.push_back(s.c_str());
  argv.push_back(front.empty() ? "terrace" : "/proc/self/exe");
  argv.push_back(args.verb().name);
  argv.push_back(mark);
  for (char* s : args.raw()) argv.push_back(s);
  argv.push_back(nullptr);
  return argv;
}

/// While it lives, SIGINT and SIGTERM wait: none comes between making a cgroup and starting who will hear of it.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &both, &before_);
  }
  ~SignalsHeld() { release(); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  void release() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

void on_signals(void (*action)(int, siginfo_t*, void*)) {  // null: as the system has it
  struct sigaction a {};
  if (action) {
    a.sa_sigaction = action;
    a.sa_flags = SA_SIGINFO | SA_RESTART;
  } else {
    a.sa_handler = SIG_DFL;
  }
  sigemptyset(&a.sa_mask);
  ::sigaction(SIGINT, &a, nullptr);
  ::sigaction(SIGTERM, &a, nullptr);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

constexpr int kNotStarted = 126;

/// Starts a program and waits for it; signals are passed on from here on. `before` runs in the child and may refuse;
/// then, or if there is no such program, it exits with kNotStarted.
template <class Before>
int run_child(SignalsHeld& held, const char* file, const std::vector<const char*>& argv, const Before& before) {
  on_signals(pass_on);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // it shall not outlive the one who removes the cgroup
    if (::getppid() != parent) ::_exit(130);
    on_signals(nullptr);
    held.release();
    if (before()) ::execvp(file, const_cast<char* const*>(argv.data()));
    ::_exit(kNotStarted);
  }
  g_child = child > 0 ? child : 0;
  held.release();
  if (child < 0) return kNotStarted << 8;
  const int status = wait_for(child);
  g_child = 0;
  return status;
}

/// The exit code of a child that did the work; Error if a signal ended it.
int exit_code_of(int status, bool out_of_memory, const std::string& where, Bytes budget) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)  // the C library's, before main
    throw Error(ErrorKind::failure, "the limited process could not start", where, "see the message above");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WTERMSIG(status) == SIGKILL && out_of_memory)
    throw Error(ErrorKind::failure, fmt::format("killed by the kernel at the budget of {}", human(budget)), where,
                "this is a fault of the plan's account; please report it, and give a larger --budget meanwhile");
  if (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM) throw Error(ErrorKind::interrupted, "interrupted");
  throw Error(ErrorKind::failure, fmt::format("ended by signal {}", WTERMSIG(status)));
}

/// In a cgroup of our own. Nothing, and why, if that is not allowed.
std::optional<int> run_in_cgroup(const Args& args, Bytes budget, Place place, std::string& why) {
  SignalsHeld held;
  if (g_signalled) throw Error(ErrorKind::interrupted, "interrupted");
  const auto group = make_cgroup(budget, place, why);
  if (!group) return std::nullopt;
  const std::string mark = "--enforced-by=" + group->folder;
  const int status = run_child(held, "/proc/self/exe", command(args, {}, mark.c_str()), [&] { return join(*group); });
  const bool killed = kills_in(*group) > 0;
  remove(*group);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotStarted) {
    if (g_signalled) throw Error(ErrorKind::interrupted, "interrupted");
    why = group->folder + " cannot be entered";
    return std::nullopt;
  }
  return exit_code_of(status, killed, group->folder, budget);
}

/// In a scope of systemd's, for v2 hosts that delegate nothing to this process. Nothing if there is no systemd to ask.
std::optional<int> run_in_scope(const Args& args, Bytes budget) {
  if (::access("/run/systemd/system", F_OK) != 0 || ::access("/sys/fs/cgroup/cgroup.controllers", F_OK) != 0)
    return std::nullopt;
  const std::string unit = fmt::format("terrace-{}.scope", ::getpid());
  const auto front = [&](const std::string& name) {
    std::vector<std::string> words = {"systemd-run", "--scope", "--quiet", "--collect", "--unit=" + name};
    if (::getuid() != 0) words.emplace_back("--user");
    words.push_back(fmt::format("--property=MemoryMax={}", budget.count));
    words.emplace_back("--property=MemorySwapMax=0");
    return words;
  };
  char exe[4096];
  const ssize_t n = ::readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (n <= 0) return std::nullopt;
  exe[n] = 0;
  // Without a login (cron, su) the variable that leads to the user's manager may be missing.
  const auto ask_own_manager = [] {
    ::setenv("XDG_RUNTIME_DIR", fmt::format("/run/user/{}", ::getuid()).c_str(), 0);
    return true;
  };
  const auto quietly = [&] {
    return ask_own_manager() && std::freopen("/dev/null", "r", stdin) && std::freopen("/dev/null", "w", stderr);
  };
  // systemd-run's own failures cannot be told from the program's: tried first.
  const std::vector<std::string> trial = front(fmt::format("terrace-{}-trial.scope", ::getpid()));
  std::vector<const char*> words;
  for (const std::string& s : trial) words.push_back(s.c_str());
  words.insert(words.end(), {"true", nullptr});
  SignalsHeld held;
  const int tried = run_child(held, words[0], words, quietly);
  SignalsHeld again;
  if (g_signalled) throw Error(ErrorKind::interrupted, "interrupted");
  if (tried != 0) return std::nullopt;

  const std::vector<std::string> real = front(unit);
  words = command(args, real, "--enforced-by=scope");
  words[real.size()] = exe;
  const int status = run_child(again, words[0], words, ask_own_manager);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotStarted) {
    if (g_signalled) throw Error(ErrorKind::interrupted, "interrupted");
    return std::nullopt;
  }
  return exit_code_of(status, true, unit, budget);
}

}  // namespace

std::optional<int> enforce(const Args& args, Bytes budget, Enforcement& result) {
  static constexpr const char* kModes[] = {"auto", "kernel", "none"};
  const std::size_t mode = args.choice("enforce", kModes);
  const auto limit = enclosing_limit();
  if (limit && *limit <= budget) {
    const auto own = own_cgroup();
    result = {true, fmt::format("enforced by the kernel (cgroup v{})", own ? own->version : 2)};
    return std::nullopt;
  }
  if (mode == 2) {
    result = {false, "not enforced (--enforce none)"};
    return std::nullopt;
  }
  std::string why;
  if (args.has("enforced-by")) {
    why = "the cgroup made for it has no effect";
  } else {
    auto code = run_in_cgroup(args, budget, Place::below, why);
    if (!code) code = run_in_scope(args, budget);
    if (!code) code = run_in_cgroup(args, budget, Place::nearby, why);
    if (code) return code;
    catch_signals();  // they were to be passed on
    if (g_signalled) throw Error(ErrorKind::interrupted, "interrupted");
  }
  if (mode == 1)
    throw Error(ErrorKind::failure, "the kernel cannot be asked to hold the budget: " + why, "--enforce kernel",
                "run as a user who may make memory cgroups, or --enforce auto");
  say("terrace: the budget is kept but not enforced by the kernel: {}\n", why);
  result = {false, "not enforced: " + why};
  return std::nullopt;
}

}  // namespace terrace::cli
