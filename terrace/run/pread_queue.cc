#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "terrace/run/io_queue.h"
#include "terrace/run/thread.h"

namespace terrace::run {
namespace {

constexpr int kThreads = 2;

/// A first-in first-out queue of fixed size.
template <class T>
class Fixed {
 public:
  explicit Fixed(std::size_t capacity) : items_(capacity) {}
  bool empty() const { return size_ == 0; }
  void push(const T& x) { items_[(begin_ + size_++) % items_.size()] = x; }
  T pop() {
    const T x = items_[begin_];
    begin_ = (begin_ + 1) % items_.size();
    --size_;
    return x;
  }

 private:
  std::vector<T> items_;
  std::size_t begin_ = 0, size_ = 0;
};

class PreadQueue final : public IoQueue {
 public:
  PreadQueue(u32 capacity, bool drop_cache) : drop_cache_(drop_cache), todo_(capacity), done_(capacity) {
    try {
      for (auto& t : threads_) t = std::make_unique<Thread>([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~PreadQueue() override { stop(); }

  void submit(std::span<const IoRequest> requests) override {
    {
      const std::lock_guard lock(mutex_);
      for (const IoRequest& q : requests) todo_.push(q);
    }
    in_flight_ += requests.size();
    requests.size() == 1 ? has_work_.notify_one() : has_work_.notify_all();
  }

  std::size_t reap(std::span<IoCompletion> out, bool wait) override {
    std::unique_lock lock(mutex_);
    if (wait && in_flight_ > 0) has_done_.wait(lock, [this] { return !done_.empty(); });
    std::size_t n = 0;
    while (n < out.size() && !done_.empty()) out[n++] = done_.pop();
    in_flight_ -= n;
    return n;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      has_work_.wait(lock, [this] { return stopping_ || !todo_.empty(); });
      if (stopping_) return;
      const IoRequest q = todo_.pop();
      lock.unlock();
      const ssize_t r = pread(q.fd, q.to, q.bytes, static_cast<off_t>(q.offset));
      const i32 result = r < 0 ? -errno : static_cast<i32>(r);
      if (drop_cache_) posix_fadvise(q.fd, static_cast<off_t>(q.offset), q.bytes, POSIX_FADV_DONTNEED);
      lock.lock();
      done_.push({q.slot, result});
      has_done_.notify_one();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    has_work_.notify_all();
    for (auto& t : threads_) t.reset();
  }

  const bool drop_cache_;
  std::mutex mutex_;
  std::condition_variable has_work_, has_done_;
  Fixed<IoRequest> todo_;
  Fixed<IoCompletion> done_;
  bool stopping_ = false;
  std::size_t in_flight_ = 0;  ///< known to the caller's thread only
  std::unique_ptr<Thread> threads_[kThreads];
};

}  // namespace

std::unique_ptr<IoQueue> make_pread_queue(u32 capacity, bool drop_cache) {
  return std::make_unique<PreadQueue>(capacity, drop_cache);
}

}  // namespace terrace::run
