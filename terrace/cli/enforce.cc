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
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/reserve.h"

namespace terrace::cli {
namespace {

volatile sig_atomic_t g_child = 0;

/// A terminal sends SIGINT to child and parent alike; only what somebody sent to us alone is passed on.
extern "C" void pass_on(int signal, siginfo_t* info, void*) {
  if (info->si_code <= 0 && g_child > 0) ::kill(static_cast<pid_t>(g_child), signal);
}

/// The command line of the child: `front`, this program, its verb, where it is, and what followed.
std::vector<const char*> command(const Args& args, const std::vector<std::string>& front, const std::string& mark) {
  std::vector<const char*> argv;
  for (const std::string& s : front) argv.push_back(s.c_str());
  argv.push_back(front.empty() ? "terrace" : "/proc/self/exe");
  argv.push_back(args.verb().name);
  argv.push_back(mark.c_str());
  for (char* s : args.raw()) argv.push_back(s);
  argv.push_back(nullptr);
  return argv;
}

void forward_signals() {
  struct sigaction action {};
  action.sa_sigaction = pass_on;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

/// Starts argv in `group` and waits.
int run_child(const Cgroup& group, const std::vector<const char*>& argv, Bytes budget) {
  forward_signals();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // it shall not outlive the one who removes the cgroup
    if (::getppid() != parent) ::_exit(130);
    if (!join(group)) ::_exit(126);
    ::execv("/proc/self/exe", const_cast<char* const*>(argv.data()));
    ::_exit(126);
  }
  if (child < 0) {
    const int code = errno;
    remove(group);
    throw Error(ErrorKind::failure, fmt::format("cannot start a process: {}", std::strerror(code)));
  }
  g_child = child;
  const int status = wait_for(child);
  g_child = 0;
  const u64 kills = kills_in(group);
  remove(group);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
    throw Error(ErrorKind::failure, "cannot enter the memory cgroup", group.folder, "--enforce none");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WTERMSIG(status) == SIGKILL && kills > 0)
    throw Error(ErrorKind::failure, fmt::format("killed by the kernel at the budget of {}", human(budget)),
                group.folder,
                "this is a fault of the plan's account; please report it, and give a larger --budget meanwhile");
  throw Error(WTERMSIG(status) == SIGINT ? ErrorKind::interrupted : ErrorKind::failure,
              fmt::format("ended by signal {}", WTERMSIG(status)));
}

/// A scope of systemd's, for v2 hosts that delegate nothing to this process. Nothing if there is no systemd to ask.
std::optional<int> run_in_scope(const Args& args, Bytes budget) {
  if (::access("/run/systemd/system", F_OK) != 0 || ::access("/sys/fs/cgroup/cgroup.controllers", F_OK) != 0)
    return std::nullopt;
  std::vector<std::string> front = {"systemd-run", "--scope", "--quiet", "--collect"};
  if (::getuid() != 0) front.emplace_back("--user");
  front.push_back(fmt::format("--property=MemoryMax={}", budget.count));
  front.emplace_back("--property=MemorySwapMax=0");
  std::vector<const char*> trial;
  for (const std::string& s : front) trial.push_back(s.c_str());
  trial.insert(trial.end(), {"true", nullptr});
  char exe[4096];
  const ssize_t n = ::readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (n <= 0) return std::nullopt;
  exe[n] = 0;
  std::vector<const char*> argv = command(args, front, "--enforced-by=scope");
  argv[front.size()] = exe;

  const auto start = [&](const std::vector<const char*>& words, bool quiet) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (quiet && (!std::freopen("/dev/null", "w", stderr) || !std::freopen("/dev/null", "r", stdin))) ::_exit(126);
      ::execvp(words[0], const_cast<char* const*>(words.data()));
      ::_exit(126);
    }
    g_child = child > 0 ? child : 0;
    const int status = child > 0 ? wait_for(child) : 126 << 8;
    g_child = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  };
  forward_signals();
  if (start(trial, true) != 0) {
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
    return std::nullopt;
  }
  return start(argv, false);
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
  } else if (const auto group = make_cgroup(budget, why)) {
    const std::string mark = "--enforced-by=" + group->folder;
    return run_child(*group, command(args, {}, mark), budget);
  } else if (const auto code = run_in_scope(args, budget)) {
    return code;
  }
  if (mode == 1)
    throw Error(ErrorKind::failure, "the kernel cannot be asked to hold the budget: " + why, "--enforce kernel",
                "run as a user who may make memory cgroups, or --enforce auto");
  fmt::print(stderr, "terrace: the budget is kept but not enforced by the kernel: {}\n", why);
  result = {false, "not enforced: " + why};
  return std::nullopt;
}

}  // namespace terrace::cli
