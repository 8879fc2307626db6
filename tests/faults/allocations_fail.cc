#include "faults/allocations_fail.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<bool> counting{false};
std::atomic<long> counted{0}, failing{0}, living{0};

bool may_have() { return !counting || ++counted != failing; }

void* or_throw(void* p) {
  if (p == nullptr) throw std::bad_alloc();
  ++living;
  return p;
}

void give_back(void* p) {
  if (p != nullptr) --living;
  std::free(p);
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t n) { return or_throw(may_have() ? std::malloc(n ? n : 1) : nullptr); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  const auto align = static_cast<std::size_t>(a);
  return or_throw(may_have() ? std::aligned_alloc(align, (n + align - 1) / align * align) : nullptr);
}
[[gnu::noinline]] void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  void* p = may_have() ? std::malloc(n ? n : 1) : nullptr;
  if (p != nullptr) ++living;
  return p;
}
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }

namespace terrace::faults {

FailingAllocation::FailingAllocation(long nth) {
  counted = 0;
  failing = nth;
  counting = true;
}
FailingAllocation::~FailingAllocation() { counting = false; }
long FailingAllocation::count() { return counted; }
long live_allocations() { return living; }

}  // namespace terrace::faults
