#include "terrace/run/thread.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstring>

#include "terrace/core/error.h"

namespace terrace::run {
namespace {

constexpr std::size_t kStack = std::size_t{512} << 10;  // only pages that are touched are charged

void* enter(void* body) {
  (*static_cast<std::function<void()>*>(body))();
  return nullptr;
}

}  // namespace

Thread::Thread(std::function<void()> body) : body_(std::move(body)) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);  // the new thread inherits this
  const int r = pthread_create(&handle_, &attributes, enter, &body_);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  if (r != 0) throw Error(ErrorKind::failure, fmt::format("cannot start a thread: {}", std::strerror(r)));
}

Thread::~Thread() { pthread_join(handle_, nullptr); }

}  // namespace terrace::run
