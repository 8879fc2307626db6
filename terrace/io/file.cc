#include "terrace/io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "terrace/core/error.h"
#include "terrace/core/page_cache.h"

namespace terrace::io {
namespace {

constexpr u64 kGranule = 4096;  // direct I/O works in whole pages on every file system we know

struct AlignedDelete {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kGranule}); }
};

/// Which file it is, and when it was written last.
struct FileStamp {
  u64 device = 0, inode = 0;
  i64 seconds = 0, nanoseconds = 0;
  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const struct stat& s) { return {s.st_dev, s.st_ino, s.st_mtim.tv_sec, s.st_mtim.tv_nsec}; }

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(-1); }
  void reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// O_NONBLOCK: opening a pipe or a device must not hang before it is refused.
int open_with(const std::string& path, int flags) {
  int fd = -1;
  do fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
  while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace

struct WindowedFile::Impl {
  std::string path;
  u64 size = 0, capacity = 0;
  u64 begin = 0, end = 0;  // the file's bytes that the window holds
  FileStamp stamp;
  bool direct = false;
  Descriptor fd;
  std::unique_ptr<std::byte[], AlignedDelete> window;

  void open();
  void look_at();
  void open_buffered();
  void fill(u64 offset);
  bool transfer(u64 offset, u64 bytes);
};

void WindowedFile::Impl::open() {
  fd.reset(open_with(path, O_DIRECT));
  direct = fd.get() >= 0;
  if (!direct) open_buffered();
  look_at();
  if (direct && is_silently_buffered(fd.get(), size)) open_buffered();
}

void WindowedFile::Impl::look_at() {
  struct stat s {};
  if (::fstat(fd.get(), &s) != 0) throw Error(ErrorKind::bad_file, std::strerror(errno), path);
  if (!S_ISREG(s.st_mode)) throw Error(ErrorKind::bad_file, "is not a regular file", path, "give the path of a file");
  size = static_cast<u64>(s.st_size);
  stamp = stamp_of(s);
}

void WindowedFile::Impl::open_buffered() {
  fd.reset(open_with(path, 0));
  if (fd.get() < 0) throw Error(ErrorKind::bad_file, fmt::format("cannot be opened: {}", std::strerror(errno)), path);
  direct = false;
  // Without this the kernel reads megabytes ahead, all of it charged to us.
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM);
}

/// Reads up to `bytes` into the window; false if direct I/O turned out not to work here.
bool WindowedFile::Impl::transfer(u64 offset, u64 bytes) {
  u64 done = 0;
  while (done < bytes && offset + done < size) {
    // A short direct read away from the end leaves an unaligned rest: read its whole granule again.
    const u64 from = direct ? round_down(done, kGranule) : done;
    const ssize_t n = ::pread(fd.get(), window.get() + from, bytes - from, static_cast<off_t>(offset + from));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL && direct) return false;
    if (n < 0) {
      throw Error(ErrorKind::failure, fmt::format("reading failed: {}", std::strerror(errno)),
                  fmt::format("{}, byte {}", path, offset + from));
    }
    if (from + static_cast<u64>(n) <= done) {
      throw Error(ErrorKind::failure, "the file has become shorter while it was read",
                  fmt::format("{}, byte {}", path, offset + done));
    }
    done = from + static_cast<u64>(n);
  }
  begin = offset;
  end = std::min(offset + done, size);
  if (!direct) ::posix_fadvise(fd.get(), static_cast<off_t>(offset), static_cast<off_t>(done), POSIX_FADV_DONTNEED);
  return true;
}

void WindowedFile::Impl::fill(u64 offset) {
  if (!window) window.reset(static_cast<std::byte*>(::operator new[](capacity, std::align_val_t{kGranule})));
  const u64 at = round_down(offset, kGranule);
  begin = end = 0;
  if (transfer(at, capacity)) return;
  open_buffered();
  transfer(at, capacity);
}

WindowedFile::WindowedFile(std::string path, u64 window) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->capacity = std::max(round_up(window, kGranule), kGranule);
  impl_->open();
}
WindowedFile::~WindowedFile() = default;
WindowedFile::WindowedFile(WindowedFile&&) noexcept = default;
WindowedFile& WindowedFile::operator=(WindowedFile&&) noexcept = default;

const std::string& WindowedFile::path() const { return impl_->path; }
u64 WindowedFile::size() const { return impl_->size; }
bool WindowedFile::direct() const { return impl_->direct; }

void WindowedFile::check_unchanged() const {
  struct stat s {};
  if (::stat(impl_->path.c_str(), &s) != 0 || stamp_of(s) != impl_->stamp)
    throw Error(ErrorKind::failure, "file changed while in use: it was written or replaced", impl_->path,
                "start again");
}

void WindowedFile::read(u64 offset, std::span<std::byte> out) {
  Impl& f = *impl_;
  if (offset > f.size || out.size() > f.size - offset) {
    throw Error(ErrorKind::bad_file, fmt::format("ends at byte {}, {} bytes were expected here", f.size, out.size()),
                fmt::format("{}, byte {}", f.path, offset), "the file is cut short: download it again");
  }
  while (!out.empty()) {
    if (offset < f.begin || offset >= f.end) f.fill(offset);
    const u64 n = std::min<u64>(out.size(), f.end - offset);
    std::memcpy(out.data(), f.window.get() + (offset - f.begin), n);
    out = out.subspan(n);
    offset += n;
  }
}

}  // namespace terrace::io
