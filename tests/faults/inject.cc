#include "faults/inject.h"

#include <cerrno>
#include <cstring>

#if defined(__linux__) && defined(__x86_64__)
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <set>
#endif

namespace terrace::faults {

const char* name_of(Calls calls) {
  constexpr const char* kNames[] = {"none", "read", "write", "open", "memory", "ring", "process", "tidy", "any"};
  return kNames[static_cast<int>(calls)];
}

#if defined(__linux__) && defined(__x86_64__)

namespace {

struct Call {
  int number;
  const char* name;
  bool about_fd;  ///< its first argument is a descriptor
};

#define CALL(name, about_fd) \
  { SYS_##name, #name, about_fd }
const std::vector<Call>& calls_of(Calls calls) {
  static const std::vector<Call> read = {CALL(read, true), CALL(pread64, true), CALL(readv, true), CALL(preadv, true),
                                         CALL(preadv2, true)};
  static const std::vector<Call> write = {CALL(write, true), CALL(pwrite64, true), CALL(writev, true),
                                          CALL(pwritev, true), CALL(pwritev2, true)};
  static const std::vector<Call> open = {CALL(open, false),      CALL(openat, false), CALL(stat, false),
                                         CALL(fstat, true),      CALL(lstat, false),  CALL(newfstatat, false),
                                         CALL(statx, false),     CALL(access, false), CALL(readlink, false),
                                         CALL(getdents64, true), CALL(ioctl, true),   CALL(fcntl, true)};
  static const std::vector<Call> memory = {CALL(brk, false), CALL(mmap, false), CALL(mremap, false),
                                           CALL(mprotect, false), CALL(madvise, false)};
  static const std::vector<Call> ring = {CALL(io_uring_setup, false), CALL(io_uring_enter, true),
                                         CALL(io_uring_register, true)};
  static const std::vector<Call> process = {CALL(clone, false), CALL(clone3, false), CALL(fork, false),
                                            CALL(vfork, false), CALL(execve, false)};
  static const std::vector<Call> tidy = {CALL(rename, false),   CALL(renameat, false), CALL(renameat2, false),
                                         CALL(unlink, false),   CALL(fsync, true),     CALL(fdatasync, true),
                                         CALL(ftruncate, true), CALL(fallocate, true), CALL(fchmod, true),
                                         CALL(fadvise64, true), CALL(mkdir, false),    CALL(rmdir, false)};
  static const std::vector<Call> nothing;
  switch (calls) {
    case Calls::read: return read;
    case Calls::write: return write;
    case Calls::open: return open;
    case Calls::memory: return memory;
    case Calls::ring: return ring;
    case Calls::process: return process;
    case Calls::tidy: return tidy;
    default: return nothing;
  }
}
#undef CALL

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Lets this process and what it starts be stopped at the calls, and at rt_sigaction, which says that main has begun.
bool install_filter(Calls calls) {
  std::vector<sock_filter> code = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  if (calls == Calls::any) {
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  } else {
    for (const Call& c : calls_of(calls)) {
      code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(c.number), 0, 1));
      code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
    }
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// In the child: waits for its tracer, then becomes the program.
[[noreturn]] void become(const Command& c, Calls calls, int go, const char* terminal) {
  std::vector<std::string> env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const auto& [key, value] : c.env) env.push_back(key + "=" + value);
  std::vector<char*> argv, envp;
  for (const std::string& a : c.argv) argv.push_back(const_cast<char*>(a.c_str()));
  for (const std::string& e : env) envp.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  ::setsid();
  const auto to = [](const std::string& name, int flags, int fd) {
    const int got = ::open(name.c_str(), flags, 0600);
    if (got < 0 || ::dup2(got, fd) < 0) ::_exit(125);
    ::close(got);
  };
  to(terminal ? terminal : "/dev/null", O_RDONLY, 0);
  if (terminal && ::ioctl(0, TIOCSCTTY, 0) != 0) ::_exit(125);
  if (c.out == "|") {
    int ends[2];
    if (::pipe(ends) != 0 || ::dup2(ends[1], 1) < 0) ::_exit(125);
    ::close(ends[0]);
    ::close(ends[1]);
  } else {
    to(c.out, O_WRONLY | O_CREAT | O_TRUNC, 1);
  }
  to(c.err, O_WRONLY | O_CREAT | O_TRUNC, 2);
  if (!c.folder.empty() && ::chdir(c.folder.c_str()) != 0) ::_exit(125);
  ::signal(SIGPIPE, SIG_DFL);
  char word = 0;
  if (::read(go, &word, 1) != 1) ::_exit(125);
  ::close(go);
  if (!install_filter(calls)) ::_exit(124);
  ::execve(argv[0], argv.data(), envp.data());
  ::_exit(125);
}

/// What the tracer, a process of its own, tells: plain bytes, through a pipe.
struct Told {
  int error = 0;  ///< errno of the attempt to trace
  int code = -1, pid = 0;
  bool hung = false;
  int outlived = 0;
  long calls = 0;
  int fd = -1;
  double seconds_to_end = 0;
  char call[400] = {};
};

class Tracer {
 public:
  Tracer(const Command& c, const Fault& f) : command_(c), fault_(f) {}

  Told trace() {
    if (!start()) return told_;
    tick();
    const double begin = now();
    double ended = 0;
    while (!tasks_.empty()) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, __WALL);
      const double t = now();
      release(t);
      if (ended == 0 && t - begin > command_.seconds) told_.hung = true;
      if (told_.hung || (ended > 0 && t - ended > 5)) {
        if (!told_.hung && told_.outlived == 0) told_.outlived = static_cast<int>(tasks_.size());
        for (const pid_t p : tasks_) ::kill(p, SIGKILL);
        if (pid < 0 && errno == ECHILD) break;
      }
      if (pid < 0) {
        if (errno == EINTR) continue;
        break;
      }
      if (WIFSTOPPED(status)) {
        stopped(pid, status);
        continue;
      }
      tasks_.erase(pid);
      if (pid != root_) continue;
      ended = t;
      told_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      if (hit_at_ > 0) told_.seconds_to_end = t - hit_at_;
    }
    return told_;
  }

 private:
  bool start() {
    int go[2];
    const char* terminal = nullptr;
    if (fault_.action == Action::interrupt) {
      terminal_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
      if (terminal_ >= 0 && ::grantpt(terminal_) == 0 && ::unlockpt(terminal_) == 0) terminal = ::ptsname(terminal_);
      if (!terminal) return told_.error = errno, false;
    }
    if (::pipe2(go, O_CLOEXEC) != 0) return told_.error = errno, false;
    root_ = ::fork();
    if (root_ == 0) become(command_, fault_.calls, go[0], terminal);
    const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                         PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (root_ < 0 || ::ptrace(PTRACE_SEIZE, root_, 0, options) != 0 || ::write(go[1], "g", 1) != 1) {
      told_.error = errno ? errno : EPERM;
      if (root_ > 0) ::kill(root_, SIGKILL), ::waitpid(root_, nullptr, 0);
      return false;
    }
    ::close(go[0]);
    ::close(go[1]);
    tasks_.insert(told_.pid = root_);
    return true;
  }
  /// A timer interrupts waitpid, for stalls and time limits.
  static void tick() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval every{{0, 10000}, {0, 10000}};
    ::setitimer(ITIMER_REAL, &every, nullptr);
  }
  void go_on(pid_t pid, int signal) { ::ptrace(PTRACE_CONT, pid, 0, signal); }
  void release(double t) {
    for (auto it = stalled_.begin(); it != stalled_.end();)
      if (it->second <= t)
        go_on(it->first, 0), it = stalled_.erase(it);
      else
        ++it;
  }
  void stopped(pid_t pid, int status) {
    tasks_.insert(pid);
    const int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_SECCOMP) return called(pid);
    go_on(pid, event ? 0 : signal);
  }
  /// Sanitizers find out whether memory may be read by writing it to a pipe.
  static bool is_pipe(pid_t pid, unsigned long long fd) {
    char link[64], file[16] = {};
    std::snprintf(link, sizeof link, "/proc/%d/fd/%llu", pid, fd);
    return ::readlink(link, file, sizeof file - 1) > 5 && std::strncmp(file, "pipe:", 5) == 0;
  }
  void called(pid_t pid) {
    user_regs_struct r{};
    if (::ptrace(PTRACE_GETREGS, pid, 0, &r) != 0) return go_on(pid, 0);
    const auto number = static_cast<int>(r.orig_rax);
    if (number == SYS_rt_sigaction && r.rdi == SIGPIPE && pid == root_) begun_ = true;
    const Call* call = nullptr;
    for (const Call& c : calls_of(fault_.calls))
      if (c.number == number) call = &c;
    if (!begun_ || (!call && fault_.calls != Calls::any)) return go_on(pid, 0);
    if (number == SYS_write && r.rdi > 2 && is_pipe(pid, r.rdi)) return go_on(pid, 0);
    ++told_.calls;
    if (fault_.nth == 0 || told_.calls < fault_.nth || (told_.calls > fault_.nth && !fault_.lasting))
      return go_on(pid, 0);
    hit(pid, r, call, number);
  }
  void describe(pid_t pid, const user_regs_struct& r, const Call* call, int number) {
    if (hit_at_ > 0) return;
    hit_at_ = now();
    char file[256] = {}, link[64];
    if (call && call->about_fd) {
      told_.fd = static_cast<int>(r.rdi);
      std::snprintf(link, sizeof link, "/proc/%d/fd/%d", pid, told_.fd);
      const ssize_t n = ::readlink(link, file, sizeof file - 1);
      file[n > 0 ? n : 0] = 0;
      std::snprintf(told_.call, sizeof told_.call, "%s(%d %s)", call->name, told_.fd, file);
    } else if (call) {
      std::snprintf(told_.call, sizeof told_.call, "%s%s", call->name, pid == root_ ? "" : ", not by the main thread");
    } else {
      std::snprintf(told_.call, sizeof told_.call, "call %d%s", number, pid == root_ ? "" : ", not by the main thread");
    }
  }
  void hit(pid_t pid, user_regs_struct& r, const Call* call, int number) {
    describe(pid, r, call, number);
    switch (fault_.action) {
      case Action::fail:
        r.orig_rax = ~0ULL;  // no call is made, and this is what it returns
        r.rax = static_cast<unsigned long long>(-static_cast<long long>(fault_.value));
        if (number == SYS_brk) r.rax = 0;  // it answers with where the heap ends: below what was asked for
        ::ptrace(PTRACE_SETREGS, pid, 0, &r);
        break;
      case Action::shorten:
        if (number == SYS_pread64 || number == SYS_pwrite64)
          r.rdx = r.rdx > 4096 ? (r.rdx / 2 + 4095) / 4096 * 4096 : r.rdx;
        else if (std::strstr(told_.call, " /sys/"))
          break;  // files of the kernel take a number whole: half of it would name another process
        else if (number == SYS_read || number == SYS_write)
          r.rdx = r.rdx > 1 ? r.rdx / 2 : r.rdx;
        ::ptrace(PTRACE_SETREGS, pid, 0, &r);
        break;
      case Action::stall: stalled_[pid] = now() + fault_.value * 1e-3; return;
      case Action::kill_one: ::kill(root_, fault_.value); break;
      case Action::interrupt:
        if (::write(terminal_, "\x03", 1) != 1) told_.error = errno;
        break;
      case Action::act: fault_.act(root_); break;
    }
    go_on(pid, 0);
  }

  const Command& command_;
  const Fault fault_;
  Told told_;
  pid_t root_ = -1;
  int terminal_ = -1;
  bool begun_ = false;
  double hit_at_ = 0;
  std::set<pid_t> tasks_;
  std::map<pid_t, double> stalled_;  ///< until when
};

}  // namespace

Ended run(const Command& command, const Fault& fault) {
  Ended e;
  int result[2];
  if (::pipe2(result, O_CLOEXEC) != 0) return e.refused = std::strerror(errno), e;
  const pid_t pid = ::fork();  // a process of its own: it waits for any child
  if (pid == 0) {
    const Told told = Tracer(command, fault).trace();
    const ssize_t n = ::write(result[1], &told, sizeof told);
    ::_exit(n == sizeof told ? 0 : 1);
  }
  ::close(result[1]);
  Told t;
  const bool whole = ::read(result[0], &t, sizeof t) == sizeof t;
  ::close(result[0]);
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  if (!whole) return e;  // a failure of the tracer's: no exit code
  if (t.error) e.refused = std::string("ptrace: ") + std::strerror(t.error);
  if (t.code == 124 && t.calls == 0) e.refused = "seccomp filters are refused";
  e.code = t.code;
  e.pid = t.pid;
  e.hung = t.hung;
  e.outlived = t.outlived;
  e.calls = t.calls;
  e.call = t.call;
  e.fd = t.fd;
  e.seconds_to_end = t.seconds_to_end;
  return e;
}

#else

Ended run(const Command&, const Fault&) {
  Ended e;
  e.refused = "system calls are counted on x86-64 Linux only";
  return e;
}

#endif

}  // namespace terrace::faults
