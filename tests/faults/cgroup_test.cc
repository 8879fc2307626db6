// A limited run whose memory cgroup is made smaller, or whose waiting process is killed, while it goes on.
#include <signal.h>

#include "faults/subject.h"

namespace terrace::faults {
namespace {

class LimitedRun : public ::testing::Test {
 protected:
  /// Counts the calls of a run that is left alone.
  void plain() {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory has no place in a budget: see the release build";
    const Ended e = s_.run(s_.words(24, "auto"), {Calls::any, 0, Action::fail, 0, false});
    if (!e.refused.empty()) GTEST_SKIP() << "NO FAULTS ARE INJECTED HERE: " << e.refused;
    ASSERT_TRUE(clean(s_, e, {0}));
    if (!s_.document()["enforced"]) GTEST_SKIP() << "NO MEMORY CGROUP CAN BE MADE HERE: " << s_.messages();
    calls_ = e.calls;
    ids_ = s_.document()["output_ids"];
  }
  /// What the kernel kills while it writes a document cannot remove it.
  void remove_unfinished() const {
    const std::filesystem::path document = s_.json_file();
    std::vector<std::filesystem::path> left;
    for (const auto& f : std::filesystem::directory_iterator(document.parent_path()))
      if (f.path().stem() == document.filename()) left.push_back(f.path());
    for (const auto& f : left) std::filesystem::remove(f);
  }
  Subject s_;
  nlohmann::json ids_;
  long calls_ = 0;
};

/// Less than it holds is refused by version 1 and fatal in version 2; just as much is fatal when it needs a page more.
TEST_F(LimitedRun, EndsWithAMessageWhenItsLimitIsLowered) {
  ASSERT_NO_FATAL_FAILURE(plain());
  if (IsSkipped()) return;
  long killed = 0, changed = 0;
  for (const u64 slack : {u64{0}, u64{64} << 10, u64{1} << 20})
    for (const long n : spread(calls_, slack == 0 ? 24 : 4)) {  // somewhere before its memory is filled
      const auto lower = [slack](int pid) {
        for (const std::string& g : cgroups_of(pid)) {
          const bool v1 = std::filesystem::exists(g + "/memory.limit_in_bytes");
          u64 used = 0;
          std::ifstream(g + (v1 ? "/memory.usage_in_bytes" : "/memory.current")) >> used;
          std::ofstream(g + (v1 ? "/memory.limit_in_bytes" : "/memory.max")) << used + slack;
        }
      };
      const Ended e = s_.run(s_.words(24, "auto"), {Calls::any, n, Action::act, 0, false, lower});
      if (e.code == 1) remove_unfinished();
      EXPECT_TRUE(clean(s_, e, {0, 1, 3})) << "call " << n << " of " << calls_;
      ++changed;
      if (e.code == 0) {
        EXPECT_EQ(s_.document()["output_ids"], ids_);
      } else {
        ++killed;
      }
    }
  EXPECT_GT(killed, 0);
  std::printf("  %ld times lowered, %ld runs ended by it\n", changed, killed);
}

TEST_F(LimitedRun, DoesNotOutliveTheProcessThatWaitsForIt) {
  ASSERT_NO_FATAL_FAILURE(plain());
  if (IsSkipped()) return;
  for (const long n : spread(calls_, 10)) {
    const Ended e = s_.run(s_.words(24, "auto"), {Calls::any, n, Action::kill_one, SIGKILL, false});
    if (e.call.empty()) continue;
    EXPECT_EQ(e.code, 1000 + SIGKILL);
    EXPECT_EQ(e.outlived, 0) << "call " << n << " of " << calls_;
    // Nobody is left to remove an empty cgroup.
    for (const std::string& g : cgroups_of(e.pid)) ::rmdir(g.c_str());
  }
}

}  // namespace
}  // namespace terrace::faults
