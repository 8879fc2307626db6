// One system call in a run goes wrong, each in turn: the right tokens or a clean error.
#include <signal.h>

#include <cerrno>

#include "faults/subject.h"

namespace terrace::faults {
namespace {

/// Exit codes of docs/interface.md for what a machine may do to a run; usage (2) and interrupted (130) are not among
/// them.
const std::set<int> kFailed = {1, 3, 4};

class EveryCall : public ::testing::Test {
 protected:
  /// One fault at every call of the class, as far as `spread` goes.
  void sweep(const std::vector<std::string>& words, Calls calls, Action action, int value, long few,
             const std::set<std::string>& files = {}) {
    const Ended plain = s_.run(words, {calls, 0, action, 0, false});
    if (!plain.refused.empty()) GTEST_SKIP() << "NO FAULTS ARE INJECTED HERE: " << plain.refused;
    ASSERT_TRUE(clean(s_, plain, {0}, files));
    const nlohmann::json ids = s_.document()["output_ids"];
    if (plain.calls == 0) GTEST_SKIP() << "no such call is made here: " << name_of(calls);
    long hits = 0, failures = 0;
    for (const long n : spread(plain.calls, few)) {
      const Ended e = s_.run(words, {calls, n, action, value, false});
      if (e.call.empty()) continue;  // threads: this run had fewer
      ++hits;
      failures += e.code != 0;
      std::set<int> codes = kFailed;
      codes.insert(0);
      EXPECT_TRUE(clean(s_, e, codes, files)) << name_of(calls) << " " << n << " of " << plain.calls;
      if (e.code == 0) { EXPECT_EQ(s_.document()["output_ids"], ids) << e.call << ", " << n; }
      if (HasFailure() && ++broken_ > 8) return;
    }
    EXPECT_GT(hits, 0);
    std::printf("  %s: %ld of %ld calls hit, %ld runs ended with an error\n", name_of(calls), hits, plain.calls,
                failures);
  }
  Subject s_;
  int broken_ = 0;
};

TEST_F(EveryCall, ReadsFail) { sweep(s_.words(), Calls::read, Action::fail, EIO, 15); }
TEST_F(EveryCall, ReadsAreInterrupted) { sweep(s_.words(), Calls::read, Action::fail, EINTR, 7); }
TEST_F(EveryCall, ReadsFallShort) { sweep(s_.words(), Calls::read, Action::shorten, 0, 15); }
TEST_F(EveryCall, WritesFindNoRoom) { sweep(s_.words(), Calls::write, Action::fail, ENOSPC, 15); }
TEST_F(EveryCall, WritesFallShort) { sweep(s_.words(), Calls::write, Action::shorten, 0, 7); }
TEST_F(EveryCall, FilesCannotBeOpened) { sweep(s_.words(), Calls::open, Action::fail, EACCES, 15); }
TEST_F(EveryCall, DescriptorsRunOut) { sweep(s_.words(), Calls::open, Action::fail, EMFILE, 7); }
TEST_F(EveryCall, MemoryRunsOut) {
  if (kSanitized) GTEST_SKIP() << "sanitizers end a program that gets no memory";
  sweep(s_.words(), Calls::memory, Action::fail, ENOMEM, 20);
}
TEST_F(EveryCall, IoUringFails) { sweep(s_.words(), Calls::ring, Action::fail, ENOMEM, 7); }
TEST_F(EveryCall, IoUringIsInterrupted) { sweep(s_.words(), Calls::ring, Action::fail, EINTR, 7); }
TEST_F(EveryCall, ProcessesAndThreadsAreRefused) { sweep(s_.words(), Calls::process, Action::fail, EAGAIN, 10); }
TEST_F(EveryCall, DiskAndSystemTakeTheirTime) { sweep(s_.words(), Calls::any, Action::stall, 60, 10); }

}  // namespace
}  // namespace terrace::faults
