#include "fuzz/live_bytes.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

// sanitizer/allocator_interface.h; absent where no sanitizer is linked.
extern "C" {
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, std::size_t),
                                              void (*on_free)(const volatile void*)) __attribute__((weak));
std::size_t __sanitizer_get_allocated_size(const volatile void*) __attribute__((weak));
}

namespace terrace::fuzz {
namespace {

// Targets run on one thread.
std::ptrdiff_t live = 0, peak = 0, limit = -1;

void on_malloc(const volatile void*, std::size_t n) {
  if (limit < 0) return;
  live += static_cast<std::ptrdiff_t>(n);
  peak = std::max(peak, live);
  if (live <= limit) return;
  const auto most = limit;
  limit = -1;  // what follows may allocate
  std::fprintf(stderr, "ERROR: %td bytes are allocated, the input justifies %td\n", live, most);
  std::abort();
}

void on_free(const volatile void* p) {
  if (limit < 0 || !p) return;
  live -= static_cast<std::ptrdiff_t>(__sanitizer_get_allocated_size(p));
}

}  // namespace

LiveBytesLimit::LiveBytesLimit(std::size_t most) {
  static const int hooks =
      __sanitizer_install_malloc_and_free_hooks ? __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) : 0;
  live = peak = 0;
  limit = hooks > 0 ? static_cast<std::ptrdiff_t>(most) : -1;
}
LiveBytesLimit::~LiveBytesLimit() { limit = -1; }

std::size_t peak_bytes() { return static_cast<std::size_t>(peak); }

}  // namespace terrace::fuzz
