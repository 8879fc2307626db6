#include "terrace/core/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace terrace {
namespace {

constexpr u64 kPage = 4096, kFolio = 2 << 20;  // pages may be cached in larger units, which go as a whole

/// Mapping a page does not bring it in. To who may not write to the file the kernel says "cached" always, since
/// Linux 5.2.
bool is_cached(int fd, u64 offset) {
  void* p = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (p == MAP_FAILED) return true;
  unsigned char resident = 1;
  const bool known = ::mincore(p, kPage, &resident) == 0;
  ::munmap(p, kPage);
  return !known || (resident & 1) != 0;
}

}  // namespace

bool is_silently_buffered(int fd, u64 file_bytes) {
  if (::sysconf(_SC_PAGESIZE) != static_cast<long>(kPage)) return false;
  const std::unique_ptr<void, void (*)(void*)> buffer(std::aligned_alloc(kPage, kPage), std::free);
  if (!buffer) return false;
  // Others may have read it: one page that nobody has, or that goes when asked, is enough.
  constexpr u64 kTries = 8;
  for (u64 i = 0; i < kTries; ++i) {
    const u64 offset = round_down(file_bytes / kTries * i, kFolio);
    if (is_cached(fd, offset)) {
      ::posix_fadvise(fd, static_cast<off_t>(offset), kFolio, POSIX_FADV_DONTNEED);
      if (is_cached(fd, offset)) continue;
    }
    if (::pread(fd, buffer.get(), kPage, static_cast<off_t>(offset)) <= 0) return false;
    const bool left = is_cached(fd, offset);
    if (left) ::posix_fadvise(fd, static_cast<off_t>(offset), kFolio, POSIX_FADV_DONTNEED);
    return left;
  }
  return false;
}

}  // namespace terrace
