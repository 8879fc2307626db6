// A file in memory with a path: thousands of files are not worth a disk's time.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace terrace::test {

class MemoryFile {
 public:
  explicit MemoryFile(std::span<const std::byte> bytes = {}) : fd_(::memfd_create("test", MFD_CLOEXEC)) { set(bytes); }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  void set(std::span<const std::byte> bytes) const {
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      throw std::runtime_error("cannot write a file in memory");
  }

 private:
  int fd_;
};

}  // namespace terrace::test
