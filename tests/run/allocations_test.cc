// Replaces operator new for the whole program; apart, so that compilers do not see through it.
#include "run/allocations.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

namespace {
std::atomic<long> count{0};
}
[[gnu::noinline]] void* operator new(std::size_t n) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace terrace::testing {
long allocations() { return count; }

TEST(Allocations, AreCounted) {
  const long before = allocations();
  const std::unique_ptr<int> p(new int(1));
  EXPECT_EQ(allocations(), before + *p);
}
}  // namespace terrace::testing
