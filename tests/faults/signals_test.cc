// SIGINT and SIGTERM at any moment of a run: it ends at once or in order, says so, and leaves nothing behind.
#include <signal.h>

#include "faults/subject.h"

namespace terrace::faults {
namespace {

class SignalsAtAnyMoment : public ::testing::Test {
 protected:
  /// `words` is interrupted at calls that are spread over it. What had ended by then may end with 0.
  void sweep(const std::vector<std::string>& words, Action action, int signal, long few,
             const std::set<std::string>& files = {}) {
    const Ended plain = s_.run(words, {Calls::any, 0, Action::fail, 0, false});
    if (!plain.refused.empty()) GTEST_SKIP() << "NO SIGNALS ARE TIMED HERE: " << plain.refused;
    ASSERT_TRUE(clean(s_, plain, {0}, files));
    const nlohmann::json ids = s_.document()["output_ids"];
    long interrupted = 0;
    for (const long n : spread(plain.calls, few)) {
      const Ended e = s_.run(words, {Calls::any, n, action, signal, false});
      if (e.call.empty()) continue;
      ASSERT_EQ(e.refused, "");
      EXPECT_TRUE(clean(s_, e, {0, 130}, files)) << "call " << n << " of " << plain.calls;
      EXPECT_LT(e.seconds_to_end, kSanitized ? 60 : 10) << "call " << n;
      interrupted += e.code == 130;
      // Nothing but what a document and the account of it take is allowed to go on.
      if (n < plain.calls / 4) { EXPECT_EQ(e.code, 130) << "goes on after call " << n << ": " << e.call; }
      if (e.code == 0) { EXPECT_EQ(s_.document()["output_ids"], ids) << "call " << n; }
      if (HasFailure() && ++broken_ > 8) return;
    }
    EXPECT_GT(interrupted, 0);
    std::printf("  of %ld calls: %ld runs interrupted\n", plain.calls, interrupted);
  }
  Subject s_;
  int broken_ = 0;
};

TEST_F(SignalsAtAnyMoment, Terminate) { sweep(s_.words(), Action::kill_one, SIGTERM, 15); }
TEST_F(SignalsAtAnyMoment, Interrupt) { sweep(s_.words(), Action::kill_one, SIGINT, 10); }
TEST_F(SignalsAtAnyMoment, TerminateTheOneThatWaitsForALimitedRun) {
  sweep(s_.words(5, "auto"), Action::kill_one, SIGTERM, 20);
}
TEST_F(SignalsAtAnyMoment, CtrlCOnALimitedRun) { sweep(s_.words(5, "auto"), Action::interrupt, SIGINT, 20); }
TEST_F(SignalsAtAnyMoment, Plan) {
  sweep({"plan", s_.model, "--budget", testing::budget_of(16), "--out", s_.folder() / "cwd/plan", "--json",
         s_.json_file()},
        Action::kill_one, SIGTERM, 8, {"cwd/plan"});
}
TEST_F(SignalsAtAnyMoment, Evaluation) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "Rice grew on step " + std::to_string(i) + ". ";
  std::ofstream(s_.folder() / "text") << text;
  sweep({"eval", s_.model, "--text", s_.folder() / "text", "--ctx", "64", "--chunks", "3", "--json", s_.json_file()},
        Action::kill_one, SIGINT, 6, {"text"});
}

}  // namespace
}  // namespace terrace::faults
