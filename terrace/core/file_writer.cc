#include "terrace/core/file_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "terrace/core/error.h"

namespace terrace {
namespace {

constexpr u64 kFlush = 1 << 20;  // dirty pages that may wait

/// Errors that say that bytes are lost; others say that the call does not work on this kind of file.
bool lost(int code) { return code == EIO || code == ENOSPC || code == EDQUOT || code == EFBIG; }

}  // namespace

FileWriter::FileWriter(int fd, std::string path, std::string hint)
    : fd_(fd), path_(std::move(path)), hint_(std::move(hint)) {}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void FileWriter::fail(std::string_view what) const {
  throw Error(ErrorKind::failure, fmt::format("{}: {}", what, std::strerror(errno)), path_, hint_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // In pieces, so that the flushing keeps up with one very long block.
    const ssize_t n = ::write(fd_, bytes.data(), std::min<u64>(bytes.size(), kFlush));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) fail("writing failed");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    written_ += static_cast<u64>(n);
    if (written_ - flushed_ >= kFlush) flush();
  }
}

void FileWriter::write_again(u64 offset, std::span<const std::byte> bytes) {
  flushed_ = std::min(flushed_, offset);
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) fail("writing failed");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
}

void FileWriter::flush() {
  if (flushed_ == written_) return;
  // Cheaper than fdatasync, which empties the device's own cache each time. An error is reported once only, so it must
  // not be tried away.
  constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto from = static_cast<off64_t>(flushed_), bytes = static_cast<off64_t>(written_ - flushed_);
  if (::sync_file_range(fd_, from, bytes, kWait) != 0) {
    if (lost(errno)) fail("writing failed");
    if (::fdatasync(fd_) != 0 && errno != EINVAL) fail("writing failed");
  }
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  flushed_ = written_;
}

void FileWriter::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) fail("closing failed");
}

}  // namespace terrace
