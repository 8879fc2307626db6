// A thread with a small stack and no signals: stacks count against the budget, signals belong to the caller's threads.
#pragma once

#include <pthread.h>

#include <functional>
#include <memory>

namespace terrace::run {

/// Joined by the destructor: whoever owns it tells it to end first.
class Thread {
 public:
  /// Throws Error(failure) when the system refuses.
  explicit Thread(std::function<void()> body);
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

 private:
  std::function<void()> body_;
  pthread_t handle_{};
};

}  // namespace terrace::run
