#include "terrace/run/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "terrace/core/error.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace terrace::run {
namespace {

constexpr u64 kPage = 4096;

/// Touches every page now: later faults would cost time, and their charge would come as a surprise.
void populate(std::byte* data, u64 bytes) {
  if (madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return;
  for (u64 i = 0; i < bytes; i += kPage) *const_cast<volatile std::byte*>(data + i) = std::byte{0};
}

/// While it lives, a process that has switched huge pages off (PR_SET_THP_DISABLE) gets them where it asks (madvise).
/// Who counts every page does so where the system gives them to everybody: heap and stacks would grow by 2 MiB at a
/// time.
class HugePagesAllowed {
 public:
  HugePagesAllowed() : were_off_(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1) {
    if (were_off_) prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  }
  ~HugePagesAllowed() {
    if (were_off_) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  }
  HugePagesAllowed(const HugePagesAllowed&) = delete;
  HugePagesAllowed& operator=(const HugePagesAllowed&) = delete;

 private:
  bool were_off_;
};

}  // namespace

ArenaMemory::ArenaMemory(Bytes bytes) {
  if (bytes.count == 0) return;
  const u64 size = round_up(bytes.count, kPage);
  void* p = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw Error(ErrorKind::failure, fmt::format("cannot map {} bytes of memory: {}", size, std::strerror(errno)));
  auto* begin = static_cast<std::byte*>(p);
  const u64 head = (kHugePage - reinterpret_cast<u64>(begin) % kHugePage) % kHugePage;
  if (head > 0) munmap(begin, head);
  if (head < kHugePage) munmap(begin + head + size, kHugePage - head);
  data_ = begin + head;
  mapped_ = size;
  const u64 whole = round_down(size, kHugePage);
  const HugePagesAllowed here;
  // Advice only: without huge pages the engine is slower, not wrong.
  if (whole > 0) madvise(data_, whole, MADV_HUGEPAGE);
  if (whole < size) madvise(data_ + whole, size - whole, MADV_NOHUGEPAGE);
  if (whole > 0) populate(data_, whole);
  if (whole < size) populate(data_ + whole, size - whole);
}

ArenaMemory::ArenaMemory(ArenaMemory&& o) noexcept
    : data_(std::exchange(o.data_, nullptr)), mapped_(std::exchange(o.mapped_, 0)) {}

ArenaMemory& ArenaMemory::operator=(ArenaMemory&& o) noexcept {
  std::swap(data_, o.data_);
  std::swap(mapped_, o.mapped_);
  return *this;
}

ArenaMemory::~ArenaMemory() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

}  // namespace terrace::run
