// The built tool, and other programs, run from a test: arguments in; exit code, output and messages out.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::testing {

/// A folder that goes when its owner goes. Under the build folder: its file system takes direct I/O where any does.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = std::string(TERRACE_BINARY_DIR) + "/e2e_XXXXXX";
    if (!::mkdtemp(path_.data())) throw std::runtime_error("cannot make " + path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  std::ostringstream s;
  s << f.rdbuf();
  return s.str();
}

struct Outcome {
  int code = -1;  ///< 1000 + signal when a signal ended it
  std::string out, err;
  nlohmann::json json;  ///< of the file given with --json, if any was written
};

/// A program that has been started with its output going to files of `folder`.
class Process {
 public:
  /// The environment holds nothing but PATH: no saved description of this machine is found, nor one made.
  /// `before` runs in the child, which then starts the program.
  Process(const TemporaryFolder& folder, std::vector<std::string> argv, const std::function<void()>& before = {})
      : out_(folder / "out"), err_(folder / "err") {
    std::vector<char*> raw;
    for (std::string& a : argv) raw.push_back(a.data());
    raw.push_back(nullptr);
    char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char* env[] = {path, nullptr};
    pid_ = ::fork();
    if (pid_ != 0) return;
    if (before) before();
    const auto open = [](const char* name, int flags, int to) {
      const int fd = ::open(name, flags, 0600);
      if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(125);
      ::close(fd);
    };
    open("/dev/null", O_RDONLY, 0);
    open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 1);
    open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 2);
    ::execve(raw[0], raw.data(), env);
    ::_exit(125);
  }
  Outcome wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    Outcome o;
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    o.out = slurp(out_);
    o.err = slurp(err_);
    return o;
  }
  void kill(int signal) const { ::kill(pid_, signal); }
  std::string output_so_far() const { return slurp(out_); }
  bool running() const {
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info_, WEXITED | WNOHANG | WNOWAIT) == 0 && info_.si_pid == 0;
  }

 private:
  std::string out_, err_;
  pid_t pid_ = -1;
  mutable siginfo_t info_{};
};

inline std::string tool_path() { return std::string(TERRACE_BINARY_DIR) + "/terrace"; }

/// A budget that leaves what `mib` MiB leave beside a release binary: sanitized ones are 100 MiB larger, and count.
/// `program`: "" or "-train", which is the one that counts.
inline std::string budget_of(u64 mib, const char* program = "") {
  const u64 binary = std::filesystem::file_size(tool_path() + program) >> 20, usual = *program ? 5 : 3;
  return std::to_string(mib + (binary > usual + 1 ? binary - usual : 0)) + "MiB";
}

/// Runs the tool and parses the document that it is asked for.
inline Outcome tool(const TemporaryFolder& folder, std::vector<std::string> args,
                    const std::function<void()>& before = {}) {
  args.insert(args.begin(), tool_path());
  const std::string document = folder / "document.json";
  std::filesystem::remove(document);
  args.insert(args.end(), {"--json", document});
  Outcome o = Process(folder, args, before).wait();
  o.json = nlohmann::json::parse(slurp(document), nullptr, false);
  return o;
}

}  // namespace terrace::testing
