#include "terrace/io/npy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "terrace/core/error.h"

namespace terrace::io {
namespace {
static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory");
constexpr u64 kFlush = 1 << 20;  // dirty pages that may wait

std::string header(const std::vector<u64>& shape) {
  std::string extents;
  for (u64 n : shape) extents += fmt::format("{}, ", n);
  if (shape.size() > 1)
    extents.resize(extents.size() - 2);
  else if (!shape.empty())
    extents.pop_back();  // a tuple of one keeps its comma
  std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents);
  // magic, version, u16 length, text, newline: a multiple of 64 in all
  const u64 total = round_up(10 + text.size() + 1, 64);
  text.append(total - 10 - text.size() - 1, ' ');
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(text.size() & 0xff);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}
}  // namespace

struct NpyWriter::Impl {
  std::string path;
  int fd = -1;
  u64 left = 1;  // elements still to come
  u64 written = 0, flushed = 0;

  ~Impl() {
    if (fd < 0) return;
    struct stat s {};
    const bool file = ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
    if (file && ::ftruncate(fd, 0) == 0 && ::lstat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode))
      ::unlink(path.c_str());  // half an array is of no use
    ::close(fd);
  }
  [[noreturn]] void fail(std::string_view what) const {
    throw Error(ErrorKind::failure, fmt::format("{}: {}", what, std::strerror(errno)), path);
  }
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("writing failed");
      bytes = bytes.subspan(static_cast<std::size_t>(n));
      written += static_cast<u64>(n);
      if (written - flushed >= kFlush) drop_behind();
    }
  }
  void drop_behind() {
    if (::fdatasync(fd) != 0 && errno != EINVAL) fail("writing failed");
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    flushed = written;
  }
};

NpyWriter::NpyWriter(std::string path, const std::vector<u64>& shape) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  for (u64 n : shape) {
    if (__builtin_mul_overflow(impl_->left, n, &impl_->left))
      throw Error(ErrorKind::failure, "the array would be too large", impl_->path);
  }
  impl_->fd = ::open(impl_->path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (impl_->fd < 0) impl_->fail("cannot be written");
  const std::string head = header(shape);
  impl_->write(std::as_bytes(std::span(head)));
}
NpyWriter::~NpyWriter() = default;
NpyWriter::NpyWriter(NpyWriter&&) noexcept = default;

void NpyWriter::append(std::span<const float> values) {
  if (values.size() > impl_->left)
    throw Error(ErrorKind::failure, fmt::format("{} elements more than the shape holds", values.size() - impl_->left),
                impl_->path);
  // In pieces, so that the drop-behind keeps up with one very long row block.
  for (u64 at = 0; at < values.size(); at += kFlush / sizeof(float)) {
    const u64 n = std::min<u64>(values.size() - at, kFlush / sizeof(float));
    impl_->write(std::as_bytes(values.subspan(at, n)));
    impl_->left -= n;
  }
}

void NpyWriter::close() {
  if (impl_->left != 0)
    throw Error(ErrorKind::failure, fmt::format("{} elements of the shape are missing", impl_->left), impl_->path);
  if (impl_->flushed != impl_->written) impl_->drop_behind();
  const int fd = std::exchange(impl_->fd, -1);
  if (fd >= 0 && ::close(fd) != 0) impl_->fail("closing failed");
}

}  // namespace terrace::io
