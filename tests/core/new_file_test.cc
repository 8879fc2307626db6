#include "terrace/core/new_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "support/file_size_limit.h"
#include "support/tool.h"
#include "terrace/core/error.h"

namespace terrace {
namespace {

namespace fs = std::filesystem;

using terrace::testing::slurp;

class NewFileTest : public ::testing::Test {
 protected:
  static std::span<const std::byte> bytes(std::string_view s) { return std::as_bytes(std::span(s)); }
  static void put(const fs::path& p, std::string_view s) { std::ofstream(p, std::ios::binary) << s; }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }

  const terrace::testing::TemporaryFolder temporary;
  const fs::path folder = temporary.path();
  const std::string path = temporary / "c";
};

TEST_F(NewFileTest, AppearsWholeOrNotAtAll) {
  put(path, "old");
  {
    NewFile f(path);
    f.write(bytes("new"));
    EXPECT_EQ(slurp(path), "old");
    EXPECT_EQ(fs::path(f.temporary()).parent_path(), folder);
    EXPECT_EQ(slurp(f.temporary()), "new");
  }
  EXPECT_EQ(slurp(path), "old");
  EXPECT_EQ(files(), 1u);
  {
    NewFile f(path);
    f.write(bytes("n__"));
    f.write_again(1, bytes("ew"));
    f.write(bytes("er"));
    EXPECT_EQ(f.written(), 5u);
    f.commit();
    EXPECT_EQ(slurp(path), "newer");
  }
  EXPECT_EQ(slurp(path), "newer");
  EXPECT_EQ(files(), 1u);
}

TEST_F(NewFileTest, ManyMebibytes) {
  std::string long_text(5 << 20, 'x');
  for (std::size_t i = 0; i < long_text.size(); ++i) long_text[i] = static_cast<char>(i % 251);
  NewFile f(path);
  f.write(bytes(long_text).first(100));
  f.write(bytes(long_text).subspan(100));
  f.write_again(3 << 20, bytes("****"));
  f.commit();
  EXPECT_TRUE(slurp(path) == long_text.replace(3 << 20, 4, "****"));
}

TEST_F(NewFileTest, KeepsModeAndFollowsLinks) {
  put(folder / "real", "old");
  fs::permissions(folder / "real", fs::perms(0640));
  fs::create_directory(folder / "sub");
  fs::create_symlink("../real", folder / "sub" / "link");
  NewFile f(folder / "sub" / "link");
  f.write(bytes("new"));
  f.commit();
  EXPECT_EQ(slurp(folder / "real"), "new");
  EXPECT_EQ(fs::status(folder / "real").permissions(), fs::perms(0640));
  EXPECT_TRUE(fs::is_symlink(folder / "sub" / "link"));
}

TEST_F(NewFileTest, InTheFolderOfTheProcess) {
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  {
    NewFile f("plain");
    fs::current_path(before);  // where the process goes meanwhile does not matter
    f.write(bytes("x"));
    f.commit();
  }
  EXPECT_EQ(slurp(folder / "plain"), "x");
}

TEST_F(NewFileTest, RemovesWhatTheDeadLeftAndNothingElse) {
  put(folder / "c.notes.partial", "");
  put(folder / "cc.123.partial", "");
  put(folder / "c.123.partial.txt", "");
  put(folder / "c.1.partial", "of a process that died");
  put(folder / "c.1-7.partial", "");
  const pid_t child = ::fork();
  if (child == 0) {
    NewFile f(path);
    f.write(bytes("half"));
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(path + "." + std::to_string(child) + ".partial"));
  NewFile a(path);
  EXPECT_EQ(files(), 4u);
  put(path + "." + std::to_string(::getpid()) + "-1.partial", "left over");
  NewFile b(path);  // the first one's temporary file is in use
  EXPECT_EQ(files(), 5u);
  a.write(bytes("a"));
  b.write(bytes("b"));
  b.commit();
  EXPECT_EQ(slurp(path), "b");
  a.commit();
  EXPECT_EQ(slurp(path), "a");
  EXPECT_EQ(files(), 4u);
}

/// The error's message, which names the path; empty if all goes well.
template <class F>
std::string failure(const std::string& path, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::failure);
    EXPECT_EQ(e.where(), path);
    return e.what();
  }
  return {};
}

TEST_F(NewFileTest, AFullDiskLeavesTheOldFile) {
  put(path, "old");
  const std::string block(600 << 10, 'x');
  const std::string e = failure(path, [&] {
    NewFile f(path);
    const test::FileSizeLimit limit(1 << 20);
    f.write(bytes(block));
    f.write(bytes(block));
    f.commit();
  });
  EXPECT_NE(e.find("writing failed: File too large (free some space"), std::string::npos) << e;
  EXPECT_EQ(slurp(path), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(NewFileTest, PlacesWhereNoFileCanBe) {
  const auto open = [](const std::string& p) { return failure(p, [&] { NewFile f(p); }); };
  EXPECT_NE(open(folder).find("is not a regular file"), std::string::npos);
  EXPECT_NE(open(folder.string() + "/").find("is not a regular file"), std::string::npos);
  EXPECT_NE(open("/dev/null").find("is not a regular file"), std::string::npos);
  EXPECT_NE(open("").find("is not a regular file"), std::string::npos);
  EXPECT_NE(open(folder / "no" / "c").find("its folder cannot be opened: No such file"), std::string::npos);
  EXPECT_NE(open(folder / std::string(250, 'n')).find("cannot be written: File name too long"), std::string::npos);
  EXPECT_EQ(files(), 0u);
  // The folder goes while the file is written.
  fs::create_directory(folder / "d");
  const std::string inside = folder / "d" / "c";
  const std::string e = failure(inside, [&] {
    NewFile f(inside);
    fs::remove_all(folder / "d");
    f.commit();
  });
  EXPECT_NE(e.find("cannot be given its name: No such file"), std::string::npos) << e;
}

}  // namespace
}  // namespace terrace
