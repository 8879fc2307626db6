// The built tool and a tiny model in folders of their own, and what must hold however a run of it ends.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <set>

#include "faults/inject.h"
#include "support/tiny_llama.h"
#include "support/tool.h"

namespace terrace::faults {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// Every call in turn instead of a few dozen spread over the run: minutes (./check --full).
inline bool thorough() { return std::getenv("TERRACE_FAULTS") != nullptr; }

/// Numbers from 1 to `most`: all of the first 400 when thorough, else about `few`, spread.
inline std::vector<long> spread(long most, long few) {
  std::vector<long> all;
  if (thorough()) {
    for (long i = 1; i <= std::min(most, 400L); ++i) all.push_back(i);
    few = 100;
    for (long i = 401; i <= most; i += std::max(1L, most / few)) all.push_back(i);
    return all;
  }
  if (kSanitized) few = std::max(2L, few / 6);  // a sanitized program takes ten times as long to start
  const double step = std::max(1.0, static_cast<double>(most) / static_cast<double>(few));
  for (double x = 1; x <= static_cast<double>(most); x += step) all.push_back(static_cast<long>(x));
  return all;
}

/// Memory cgroups that the tool made as process `pid` and that are still there.
inline std::set<std::string> cgroups_of(int pid) {
  std::set<std::string> found;
  std::error_code e;
  using Walk = std::filesystem::recursive_directory_iterator;
  for (Walk it("/sys/fs/cgroup", std::filesystem::directory_options::skip_permission_denied, e), end; it != end;
       it.increment(e)) {
    if (e) break;
    if ((it->path().filename().string() + ".").starts_with("terrace." + std::to_string(pid) + "."))
      found.insert(it->path().string());
  }
  return found;
}

class Subject {
 public:
  explicit Subject(const testing::TinyLlama& shape = untied()) {
    for (const char* name : {"cwd", "cache", "tmp"}) std::filesystem::create_directory(folder_ / name);
    write_tiny_llama(model, shape);
  }
  static testing::TinyLlama untied() {  // a tied random one repeats its first token
    testing::TinyLlama m;
    m.tied = false;
    return m;
  }

  /// A generation that streams through a ring: the smallest budget, where binaries have their usual size. The file is
  /// read in every step.
  std::vector<std::string> words(int tokens = 5, const std::string& enforce = "none",
                                 const std::string& io = "auto") const {
    return {"run",
            model,
            "--prompt",
            "Once upon a time",
            "--max-tokens",
            std::to_string(tokens),
            "--ignore-eos",
            "--budget",
            testing::budget_of(8),
            "--enforce",
            enforce,
            "--io",
            io,
            "--threads",
            "2",
            "--json",
            json_file()};
  }
  /// `argv` after the program's name. Leaves what the last run wrote only if `keep`.
  Ended run(const std::vector<std::string>& argv, const Fault& fault, bool keep = false) {
    if (!keep) std::filesystem::remove(json_file());
    Command c;
    c.argv = argv;
    c.argv.insert(c.argv.begin(), testing::tool_path());
    c.folder = folder_ / "cwd";
    c.out = out.empty() ? folder_ / "out" : out;
    c.err = folder_ / "err";
    c.env = env;
    c.env["TMPDIR"] = folder_ / "tmp";
    c.env["ASAN_OPTIONS"] = c.env["LSAN_OPTIONS"] = "detect_leaks=0";  // it traces, and one tracer is enough
    c.seconds = kSanitized ? 120 : 30;
    return faults::run(c, fault);
  }
  std::string json_file() const { return folder_ / "cwd/document.json"; }
  std::string messages() const { return testing::slurp(folder_ / "err"); }
  std::string output() const { return out.empty() ? testing::slurp(folder_ / "out") : ""; }
  nlohmann::json document() const { return nlohmann::json::parse(testing::slurp(json_file()), nullptr, false); }
  /// Files below the run's folders that are none of `expected` (paths from there).
  std::string left_behind(int pid, std::set<std::string> expected) const {
    std::string all;
    expected.insert({"cwd", "cache", "tmp", "out", "err", "m.gguf", "cwd/document.json"});
    for (const auto& e : std::filesystem::recursive_directory_iterator(folder_.path())) {
      const std::string name = std::filesystem::relative(e.path(), folder_.path()).string();
      if (!expected.contains(name)) all += name + " ";
    }
    for (const std::string& g : cgroups_of(pid)) all += g + " ";
    return all;
  }
  const testing::TemporaryFolder& folder() const { return folder_; }

 private:
  testing::TemporaryFolder folder_;

 public:
  const std::string model = folder_ / "m.gguf";
  std::string out;  ///< where standard output goes, if not to a file that output() reads
  std::map<std::string, std::string> env;
};

/// What every end must be: in time, by exit code, said, and nothing left; whole documents or none.
inline ::testing::AssertionResult clean(const Subject& s, const Ended& e, const std::set<int>& codes,
                                        const std::set<std::string>& files = {}) {
  const std::string said = s.messages();
  const auto no = [&](const std::string& why) {
    return ::testing::AssertionFailure() << why << "; exit code " << e.code << " after " << e.call << "; said:\n"
                                         << said;
  };
  if (e.hung) return no("hangs");
  if (!codes.contains(e.code)) return no("wrong exit code");
  if (e.code != 0 && e.fd != 2 && said.find("terrace: ") == said.npos) return no("says nothing");
  if (e.outlived > 0) return no("leaves processes behind");
  if (const std::string left = s.left_behind(e.pid, files); !left.empty()) return no("leaves behind " + left);
  if (std::filesystem::exists(s.json_file()) && s.document().is_discarded()) return no("leaves half a document");
  return ::testing::AssertionSuccess();
}

}  // namespace terrace::faults
