#include "terrace/run/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "terrace/core/error.h"
#include "terrace/core/page_cache.h"

namespace terrace::run {
namespace {

constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;  // a pipe must be refused, not waited for

/// Some file systems accept the flag and refuse the first read; some devices want larger granules than the plan's.
bool reads_directly(int fd, u32 granule) {
  const std::size_t alignment = std::max<std::size_t>(granule, 64);
  const std::unique_ptr<void, void (*)(void*)> buffer(std::aligned_alloc(alignment, alignment), std::free);
  return buffer != nullptr && pread(fd, buffer.get(), granule, 0) >= 0;
}

}  // namespace

Files::Files(const Plan& plan, bool direct) : direct_(direct) {
  try {
    if (direct_) {
      if (!open_all(plan, kFlags | O_DIRECT))
        refusal_ = "O_DIRECT refused by the file system";
      else if (any_silently_buffered(plan))
        refusal_ = "the file system buffers in spite of O_DIRECT";
      if (*refusal_ != 0) {
        close_all();
        direct_ = false;
      }
    }
    if (!direct_) {
      open_all(plan, kFlags);
      for (int fd : fds_)
        posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);  // no read-ahead: it would count against the budget
    }
  } catch (...) {
    close_all();
    throw;
  }
}

bool Files::open_all(const Plan& plan, int flags) {
  fds_.reserve(plan.files.size());  // a descriptor that found no place would stay open
  for (const PlanFile& f : plan.files) {
    const int fd = open(f.path.c_str(), flags);
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT) != 0) return false;
    if (fd < 0) throw Error(ErrorKind::bad_file, fmt::format("cannot open: {}", std::strerror(errno)), f.path);
    fds_.push_back(fd);
    struct stat s {};
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) throw Error(ErrorKind::bad_file, "is not a regular file", f.path);
    // io_uring would not wait for a descriptor that says so.
    if (fcntl(fd, F_SETFL, flags & O_DIRECT) != 0)
      throw Error(ErrorKind::bad_file, fmt::format("cannot open: {}", std::strerror(errno)), f.path);
    if (static_cast<u64>(s.st_size) != f.bytes.count)
      throw Error(ErrorKind::bad_file, fmt::format("has {} bytes, was planned with {}", s.st_size, f.bytes.count),
                  f.path, "plan again for this file");
    if ((flags & O_DIRECT) != 0 && !reads_directly(fd, plan.granule)) return false;
  }
  return true;
}

bool Files::any_silently_buffered(const Plan& plan) const {
  for (std::size_t i = 0; i < fds_.size(); ++i)
    if (is_silently_buffered(fds_[i], plan.files[i].bytes.count)) return true;
  return false;
}

void Files::close_all() {
  for (int fd : fds_) close(fd);
  fds_.clear();
}

Files::~Files() { close_all(); }

}  // namespace terrace::run
