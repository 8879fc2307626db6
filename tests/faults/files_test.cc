// What a run reads and writes changes under it: the model's file, the place of its output, its memory cgroup.
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>

#include "faults/subject.h"

namespace terrace::faults {
namespace {

class WhileItRuns : public ::testing::Test {
 protected:
  void plain(const std::vector<std::string>& words, Calls calls) {
    const Ended e = s_.run(words, {calls, 0, Action::fail, 0, false});
    if (!e.refused.empty()) GTEST_SKIP() << "NO FAULTS ARE INJECTED HERE: " << e.refused;
    ASSERT_TRUE(clean(s_, e, {0}, {"copy", "fresh"}));
    calls_ = e.calls;
    ids_ = s_.document()["output_ids"];
    std::filesystem::copy_file(s_.model, s_.folder() / "copy", std::filesystem::copy_options::overwrite_existing);
  }
  /// The file changes at some read, and is put back afterwards: the tokens are those of one file or of the other.
  /// `same`: what was opened is still what it was.
  void change(const std::string& io, const std::function<void()>& how, bool same) {
    ASSERT_NO_FATAL_FAILURE(plain(s_.words(24, "none", io), Calls::read));
    if (IsSkipped()) return;
    how();
    const nlohmann::json others =
        s_.run(s_.words(24, "none", io), {}).code == 0 ? s_.document()["output_ids"] : nlohmann::json();
    EXPECT_NE(others, ids_);
    put_back();
    long errors = 0;
    for (const long n : spread(calls_, 10)) {
      const Ended e = s_.run(s_.words(24, "none", io), {Calls::read, n, Action::act, 0, false, [&how](int) { how(); }});
      const std::string said = s_.messages();
      EXPECT_TRUE(clean(s_, e, {0, 1, 4}, {"copy", "fresh"})) << "read " << n << " of " << calls_;
      if (e.code == 0) {
        const nlohmann::json got = s_.document()["output_ids"];
        EXPECT_TRUE(got == ids_ || got == others) << got << " at read " << n << " of " << calls_ << ", " << e.call;
      } else {
        ++errors;
        EXPECT_NE(said.find("m.gguf"), said.npos) << said;
      }
      put_back();
      if (HasFailure() && ++broken_ > 5) return;
    }
    if (!same) { EXPECT_GT(errors, 0); }
    std::printf("  %ld reads, %ld runs ended with an error\n", calls_, errors);
  }
  void put_back() const {
    std::filesystem::copy_file(s_.folder() / "copy", s_.model, std::filesystem::copy_options::overwrite_existing);
  }
  void cut() const { std::filesystem::resize_file(s_.model, std::filesystem::file_size(s_.model) / 3); }
  /// The weights go on as zeros.
  void overwrite() const {
    std::fstream f(s_.model, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(static_cast<std::streamoff>(std::filesystem::file_size(s_.model) / 2));
    const std::string zeros(std::filesystem::file_size(s_.model) / 2, '\0');
    f.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  }
  Subject s_;
  nlohmann::json ids_;
  long calls_ = 0;
  int broken_ = 0;
};

TEST_F(WhileItRuns, TheModelIsCutShort) {
  change(
      "pread", [this] { cut(); }, false);
}
TEST_F(WhileItRuns, TheModelIsCutShortUnderIoUring) {
  change(
      "auto", [this] { cut(); }, false);
}
TEST_F(WhileItRuns, TheModelIsOverwritten) {
  change(
      "pread", [this] { overwrite(); }, false);
}
TEST_F(WhileItRuns, AnotherModelTakesItsName) {
  testing::TinyLlama other = Subject::untied();
  other.seed = 99;
  write_tiny_llama(s_.folder() / "fresh", other);
  const std::string fresh = s_.folder() / "fresh";
  change(
      "pread",
      [this, fresh] {
        std::filesystem::copy_file(fresh, s_.model + ".new");
        std::filesystem::rename(s_.model + ".new", s_.model);
      },
      true);
}

/// The whole of standard output, or part of it, is lost: no run may call that a success.
TEST_F(WhileItRuns, OutputThatIsLostIsAnError) {
  const std::string big = testing::budget_of(16);
  for (const auto& v : std::vector<std::vector<std::string>>{
           {"run", s_.model, "--prompt", "x", "--max-tokens", "3", "--budget", big, "--enforce", "none"},
           {"run", s_.model, "--prompt", "x", "--max-tokens", "3", "--enforce", "none", "--json", "-"},
           {"plan", s_.model, "--budget", big},
           {"plan", s_.model, "--json", "-"},
           {"inspect", s_.model},
           {"graph", s_.model},
           {"--help"},
           {"--version"}}) {
    for (const char* to : {"/dev/full", "|"}) {
      s_.out = to;
      const Ended e = s_.run(v, {});
      if (!e.refused.empty()) GTEST_SKIP() << e.refused;
      EXPECT_TRUE(clean(s_, e, {1})) << v[0] << " to " << to;
    }
  }
}

TEST_F(WhileItRuns, NothingCanBeWrittenAnywhere) {
  const Ended plain = s_.run(s_.words(24), {Calls::write, 0, Action::fail, 0, false});
  if (!plain.refused.empty()) GTEST_SKIP() << plain.refused;
  for (const int code : {ENOSPC, EPIPE, EIO}) {
    const Ended e = s_.run(s_.words(24), {Calls::write, 1, Action::fail, code, true});
    EXPECT_EQ(e.code, 1) << e.call;  // and so is everything else
    EXPECT_FALSE(std::filesystem::exists(s_.json_file()));
  }
}

TEST_F(WhileItRuns, ADocumentTakesItsPlaceWhole) {
  const std::string old = "{\"kind\": \"old\"}";
  const std::vector<std::string> plan = {"plan", s_.model, "--json", s_.json_file()};
  const auto write_old = [&] { std::ofstream(s_.json_file()) << old; };
  write_old();
  ::chmod(s_.json_file().c_str(), 0640);
  const Ended counted = s_.run(plan, {Calls::write, 0, Action::fail, 0, false}, true);
  if (!counted.refused.empty()) GTEST_SKIP() << counted.refused;
  ASSERT_TRUE(clean(s_, counted, {0}));
  EXPECT_EQ(s_.document()["kind"], "plan");
  struct stat st {};
  ASSERT_EQ(::stat(s_.json_file().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  for (const Calls calls : {Calls::write, Calls::tidy, Calls::open}) {
    const Ended all = s_.run(plan, {calls, 0, Action::fail, 0, false}, true);
    for (long n = std::max(1L, all.calls - 12); n <= all.calls; ++n) {  // it comes last
      write_old();
      const Ended e = s_.run(plan, {calls, n, Action::fail, calls == Calls::tidy ? EACCES : ENOSPC, false}, true);
      EXPECT_TRUE(clean(s_, e, {0, 1, 4})) << name_of(calls) << " " << n;
      const std::string now = testing::slurp(s_.json_file());
      EXPECT_TRUE(now == old || s_.document()["kind"] == "plan") << now << e.call;
    }
  }
  // What is no ordinary file, and a link, stay what they are.
  std::filesystem::remove(s_.json_file());
  std::ofstream(s_.folder() / "cwd/real") << old;
  std::filesystem::create_symlink("real", s_.json_file());
  ASSERT_TRUE(clean(s_, s_.run(plan, {}, true), {0}, {"cwd/real"}));
  EXPECT_TRUE(std::filesystem::is_symlink(s_.json_file()));
  EXPECT_EQ(s_.document()["kind"], "plan");
  EXPECT_EQ(s_.run({"plan", s_.model, "--json", "/dev/null"}, {}).code, 0);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

}  // namespace
}  // namespace terrace::faults
