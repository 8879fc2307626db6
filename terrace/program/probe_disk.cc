// The file system under a path: direct reads by block size and depth, into huge pages, touching what was read.
#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/program/probe_parts.h"

namespace terrace::probe {
namespace {

constexpr u64 kTemporary = u64{256} << 20;
constexpr u64 kLargeEnough = u64{32} << 20;
constexpr u64 kBlocks[] = {4 << 10, 64 << 10, 256 << 10, 1 << 20};
constexpr int kDepths[] = {1, 4, 8};
constexpr int kMaxDepth = 8;

[[noreturn]] void fail(std::string_view what, const std::string& where, int error) {
  throw Error(ErrorKind::failure, fmt::format("{}: {}", what, std::strerror(error)), where,
              "name a folder you may write to, or a file of at least 32 MiB");
}

struct Fd {
  int fd = -1;
  explicit Fd(int f) : fd(f) {}
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
  Fd(Fd&& o) noexcept : fd(o.fd) { o.fd = -1; }
  Fd& operator=(Fd&&) = delete;
};

/// What is read: a descriptor (direct where possible) and how many bytes of it.
struct Target {
  Fd file{-1};
  u64 bytes = 0;
  bool direct = true;
};

void set_direct(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  ::fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

Fd unlinked_file(const std::string& folder) {
  int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return Fd(fd);
  std::string name = folder + "/.terrace-probe-XXXXXX";
  fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) fail("cannot write a file to measure with", folder, errno);
  ::unlink(name.c_str());
  return Fd(fd);
}

/// A file of its own that is gone when it is closed, written past the page cache where that is possible.
Target temporary(const std::string& folder, const HugeBuffer& buffer) {
  Target t{unlinked_file(folder), kTemporary, true};
  auto* words = reinterpret_cast<u64*>(buffer.data());  // no zeros: some stores do not keep them
  u64 state = 1;
  for (u64 i = 0; i < (u64{1} << 20) / 8; ++i)
    words[i] = state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  set_direct(t.file.fd, true);
  for (u64 at = 0; at < t.bytes;) {
    const ssize_t n = ::pwrite(t.file.fd, buffer.data(), 1 << 20, static_cast<off_t>(at));
    if (n < 0 && errno == EINVAL && t.direct) {
      set_direct(t.file.fd, t.direct = false);
      continue;
    }
    if (n <= 0) fail("cannot write a file to measure with", folder, n < 0 ? errno : ENOSPC);
    at += static_cast<u64>(n);
  }
  ::fsync(t.file.fd);
  ::posix_fadvise(t.file.fd, 0, 0, POSIX_FADV_DONTNEED);
  return t;
}

Target open_target(const std::string& path, const HugeBuffer& buffer) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) fail("cannot look at this path", path, errno);
  if (S_ISDIR(st.st_mode)) return temporary(path, buffer);
  if (S_ISREG(st.st_mode) && static_cast<u64>(st.st_size) >= kLargeEnough) {
    bool direct = true;
    int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd < 0) direct = false, fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return Target{Fd(fd), static_cast<u64>(st.st_size), direct};
  }
  const std::size_t slash = path.rfind('/');
  return temporary(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash), buffer);
}

u64 alignment(const Target& t) {
  if (!t.direct) return 4096;
#ifdef STATX_DIOALIGN
  struct statx sx {};
  if (::statx(t.file.fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && (sx.stx_mask & STATX_DIOALIGN) &&
      sx.stx_dio_offset_align > 0)
    return std::clamp<u64>(std::max(sx.stx_dio_offset_align, sx.stx_dio_mem_align), 512, 4096);
#endif
  return 4096;  // right for every disk in use, and costs little where 512 would do
}

u64 touch(const std::byte* p, u64 bytes) {
  u64 s = 0;
  for (u64 i = 0; i < bytes; i += 8) {
    u64 w;
    std::memcpy(&w, p + i, 8);
    s += w;
  }
  return s;
}

/// Reads on and on through the target; keeps `depth` requests of `block` bytes in flight.
class Reader {
 public:
  Reader(const Target& target, const HugeBuffer& buffer) : target_(target), buffer_(buffer) {
    uring_ = ::io_uring_queue_init(kMaxDepth, &ring_, 0) == 0;
  }
  ~Reader() {
    if (uring_) ::io_uring_queue_exit(&ring_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  bool uring() const { return uring_; }
  u64 sum() const { return sum_; }

  /// Reads `count` blocks; returns seconds.
  double read(u64 block, int depth, int count) {
    const double begin = now();
    if (!uring_ || depth == 1) {  // one at a time needs no ring, and pread is the shorter way
      for (int i = 0; i < count; ++i) finish(block, 0, ::pread(target_.file.fd, slot(block, 0), block, next(block)));
      return now() - begin;
    }
    int sent = 0, done = 0;
    for (; sent < std::min(depth, count); ++sent) submit(block, sent);
    while (done < count) {
      io_uring_cqe* cqe = nullptr;
      int e = ::io_uring_submit_and_wait(&ring_, 1);
      if (e >= 0) e = ::io_uring_wait_cqe(&ring_, &cqe);
      if (e == -EINTR) continue;
      if (e < 0) fail("reading failed", "probe", -e);
      const auto which = static_cast<int>(cqe->user_data);
      const int result = cqe->res;
      ::io_uring_cqe_seen(&ring_, cqe);
      if (result < 0) errno = -result;
      finish(block, which, result);
      ++done;
      if (sent < count) submit(block, which), ++sent;
    }
    return now() - begin;
  }

 private:
  std::byte* slot(u64 block, int i) const { return buffer_.data() + block * static_cast<u64>(i); }
  off_t next(u64 block) {
    if (at_ + block > target_.bytes) at_ = 0;
    const u64 at = at_ = round_up(at_, 4096);
    at_ += block;
    return at + block <= target_.bytes ? static_cast<off_t>(at) : (at_ = block, 0);
  }
  void submit(u64 block, int i) {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_read(sqe, target_.file.fd, slot(block, i), static_cast<unsigned>(block),
                         static_cast<u64>(next(block)));
    sqe->user_data = static_cast<u64>(i);
  }
  void finish(u64 block, int i, ssize_t result) {
    if (result < 0) fail("reading failed", "probe", errno);
    if (static_cast<u64>(result) != block) fail("the file became shorter while it was read", "probe", EIO);
    sum_ += touch(slot(block, i), block);
  }

  const Target& target_;
  const HugeBuffer& buffer_;
  io_uring ring_{};
  bool uring_ = false;
  u64 at_ = 0, sum_ = 0;
};

/// One way of reading, and what it reached in each round.
struct Config {
  u64 block;
  int depth;
  int count;  ///< blocks a slice
  std::vector<double> rates;
};

/// Disks change pace for seconds at a time, so every way is tried in every round: medians then speak of one mixture of
/// paces.
std::vector<Config> measure(Reader& reader, double seconds, bool deep) {
  constexpr int kRounds = 7;
  std::vector<Config> all;
  for (u64 block : kBlocks)
    for (int depth : kDepths)
      if (depth == 1 || deep) all.push_back({block, depth, 0, {}});
  const double slice = seconds / (kRounds * static_cast<double>(all.size()));
  for (Config& c : all) {
    const double each = reader.read(c.block, c.depth, c.depth * 2) / (c.depth * 2);
    c.count = static_cast<int>(std::clamp(slice / std::max(each, 1e-7), static_cast<double>(c.depth * 2), 4096.0));
  }
  for (int round = 0; round < kRounds; ++round)
    for (Config& c : all)
      c.rates.push_back(static_cast<double>(c.block) * c.count / reader.read(c.block, c.depth, c.count));
  return all;
}

}  // namespace

DiskRates disk_rates(const std::string& path, double seconds) {
  const HugeBuffer buffer(kMaxDepth * (u64{1} << 20));
  Target target = open_target(path, buffer);
  DiskRates d;
  if (target.direct && ::pread(target.file.fd, buffer.data(), 4096, 0) < 0)
    set_direct(target.file.fd, target.direct = false);
  if (!target.direct) ::posix_fadvise(target.file.fd, 0, 0, POSIX_FADV_DONTNEED);
  d.direct = target.direct;
  d.granule = alignment(target);
  struct statvfs fs {};
  d.capacity = ::fstatvfs(target.file.fd, &fs) == 0 ? static_cast<u64>(fs.f_blocks) * fs.f_frsize : target.bytes;

  Reader reader(target, buffer);
  d.io_uring = reader.uring();
  std::vector<double> single;
  for (int i = 0; i < 64; ++i) single.push_back(reader.read(4096, 1, 1));
  d.latency = median(single);
  // What one thread with pread does has no depth.
  for (const Config& c : measure(reader, seconds, d.io_uring)) {
    const double r = median(c.rates);
    d.rates.push_back({Bytes{c.block}, c.depth, BytesPerSecond{r}});
    d.best = std::max(d.best, r);
  }
  return d;
}

}  // namespace terrace::probe
