// Runs a program and makes one of its system calls fail, fall short, take long, or be the moment of a signal.
//
// A filter (seccomp) stops the program, its threads and its children at calls of one class only; the tracer (ptrace)
// counts them from the moment the program says what to do at signals (SIGPIPE comes last): its own code has begun.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace terrace::faults {

/// Classes of system calls.
enum class Calls {
  none,
  read,     ///< read, pread64, ...
  write,    ///< write, pwrite64, ...: files, pipes and messages
  open,     ///< open, openat, stat and their like
  memory,   ///< brk, mmap, mremap, mprotect, madvise
  ring,     ///< io_uring_setup, io_uring_enter, ...
  process,  ///< clone, fork, execve: threads and processes
  tidy,     ///< rename, unlink, fsync, ftruncate, mkdir, ...
  any,
};

enum class Action {
  fail,       ///< returns -value without being carried out
  shorten,    ///< carried out for half of the bytes; direct reads keep to whole pages
  stall,      ///< carried out `value` milliseconds later
  kill_one,   ///< signal `value` to the program, as kill(1) sends it
  interrupt,  ///< Ctrl-C on the program's terminal: SIGINT from there to all of its processes
  act,        ///< `act` is called, then the call is carried out
};

struct Fault {
  Calls calls = Calls::none;
  long nth = 0;  ///< of the class, from 1; 0: only counted
  Action action = Action::fail;
  int value = 0;
  bool lasting = false;                ///< the n-th and all that follow
  std::function<void(int pid)> act{};  ///< in the tracer, a copy of the calling process; the program stands still
};

struct Command {
  std::vector<std::string> argv;
  std::string folder;                      ///< where it runs
  std::string out, err;                    ///< files (or devices) that take its output; out "|": a pipe nobody reads
  std::map<std::string, std::string> env;  ///< besides PATH
  double seconds = 30;                     ///< then it counts as hanging
};

struct Ended {
  std::string refused;  ///< not empty: this system does not let programs be traced, and why
  int code = -1;        ///< 1000 + signal when a signal ended it
  int pid = 0;          ///< that the program had
  bool hung = false;    ///< ran into Command::seconds, and was killed
  int outlived = 0;  ///< processes and threads of its own that were still there a second after its end, and were killed
  long calls = 0;    ///< of the class
  std::string call;  ///< the call that was hit: "pread64(3 /tmp/m.gguf)"; empty if there was no n-th
  int fd = -1;       ///< that it was about, if any
  double seconds_to_end = 0;  ///< from the fault to the program's end
};

Ended run(const Command& command, const Fault& fault);

const char* name_of(Calls calls);

}  // namespace terrace::faults
