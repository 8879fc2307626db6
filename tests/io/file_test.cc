#include "terrace/io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "support/gguf_writer.h"
#include "terrace/core/error.h"
#include "terrace/io/npy.h"

namespace terrace::io {
namespace {

std::vector<std::byte> pattern(std::size_t n) {
  std::vector<std::byte> b(n);
  std::mt19937 random(3);
  for (std::byte& x : b) x = static_cast<std::byte>(random());
  return b;
}

void read_everywhere(WindowedFile& f, const std::vector<std::byte>& expected) {
  ASSERT_EQ(f.size(), expected.size());
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    const std::size_t from = random() % (expected.size() + 1);
    const std::size_t n = random() % (expected.size() - from + 1) % (i % 3 ? 100u : 1u << 20);
    std::vector<std::byte> got(n);
    f.read(from, got);
    ASSERT_TRUE(std::equal(got.begin(), got.end(), expected.begin() + static_cast<std::ptrdiff_t>(from)))
        << from << " " << n;
  }
  std::vector<std::byte> two(2);
  EXPECT_THROW(f.read(expected.size() - 1, two), Error);
  EXPECT_THROW(f.read(~u64{0}, two), Error);
  EXPECT_NO_THROW(f.read(expected.size(), {}));
}

TEST(WindowedFile, AnyRangeOfAnySize) {
  for (const std::size_t n : {1u, 511u, 4096u, 4097u, 65536u, 200001u}) {
    const std::string path = testing::TempDir() + "windowed";
    const auto bytes = pattern(n);
    test::GgufWriter::save(path, bytes);
    WindowedFile wide(path), narrow(path, 4096);
    read_everywhere(wide, bytes);
    read_everywhere(narrow, bytes);
  }
}

TEST(WindowedFile, WorksWithoutDirectIo) {
  // Memory files refuse direct I/O at opening or, on newer kernels, take it: both must give the bytes.
  const int fd = ::memfd_create("windowed", 0);
  ASSERT_GE(fd, 0);
  const auto bytes = pattern(150000);
  ASSERT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  WindowedFile f("/proc/self/fd/" + std::to_string(fd), 8192);
  read_everywhere(f, bytes);
  ::close(fd);
}

TEST(WindowedFile, ShrunkWhileReadIsAnErrorNotAHang) {
  const std::string path = testing::TempDir() + "shrinking";
  test::GgufWriter::save(path, pattern(100000));
  WindowedFile f(path, 4096);
  ASSERT_EQ(::truncate(path.c_str(), 50000), 0);
  std::vector<std::byte> one(1);
  EXPECT_NO_THROW(f.read(10, one));
  try {
    f.read(90000, one);
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::failure); }
}

TEST(WindowedFile, PipesAreRefusedWithoutWaiting) {
  const std::string path = testing::TempDir() + "pipe";
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THROW(WindowedFile{path}, Error);
}

TEST(Npy, HeaderAndRows) {
  const std::string path = testing::TempDir() + "rows.npy";
  NpyWriter w(path, {2, 3});
  const std::vector<float> a = {1, 2, 3}, b = {4, 5, 6};
  w.append(a);
  EXPECT_THROW(w.close(), Error);
  w.append(b);
  EXPECT_THROW(w.append(a), Error);
  w.close();
  WindowedFile f(path);
  ASSERT_EQ(f.size(), 128u + 24u);
  std::string head(128, '\0');
  f.read(0, std::as_writable_bytes(std::span(head)));
  EXPECT_EQ(head.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(head.substr(10, 59), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  EXPECT_EQ(head.back(), '\n');
  std::vector<float> values(6);
  f.read(128, std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(Npy, BadShapesAndPaths) {
  EXPECT_THROW(NpyWriter("/nonexistent/x.npy", {1}), Error);
  EXPECT_THROW(NpyWriter(testing::TempDir() + "x.npy", {u64{1} << 40, u64{1} << 40}), Error);
}

}  // namespace
}  // namespace terrace::io
