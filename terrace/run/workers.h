// The compute lane's threads: who has ended which step, and how to wait for it, spinning briefly, then asleep.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "terrace/core/units.h"
#include "terrace/run/thread.h"

namespace terrace::run {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Worker 0 is the thread that calls; the others belong to the team. Counts of steps are cumulative over all
/// repetitions and wrap around, so they are compared by difference.
class Workers {
 public:
  /// `walk(w)` is called on each worker w >= 1 for every start().
  Workers(int count, int spins, std::function<void(int)> walk);
  ~Workers();

  int count() const { return count_; }
  void start();
  /// Makes every wait of the others return false, and waits until they have left walk().
  void abort_and_join();

  u32 progress(int w) const { return progress_[static_cast<std::size_t>(w)].value.load(std::memory_order_acquire); }
  /// True once every worker has ended `steps` steps.
  bool passed(u32 steps) const {
    for (int w = 0; w < count_; ++w)
      if (static_cast<i32>(progress(w) - steps) < 0) return false;
    return true;
  }
  /// A number that changes whenever anyone publishes.
  u32 total() const {
    u32 sum = 0;
    for (int w = 0; w < count_; ++w) sum += progress(w);
    return sum;
  }
  void publish(int w, u32 steps) {
    progress_[static_cast<std::size_t>(w)].value.store(steps, std::memory_order_seq_cst);
    wake_sleepers();
  }
  /// To be called after anything else that others may wait for has been stored (sequentially consistent).
  void wake_sleepers() {
    if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
    wake_.fetch_add(1, std::memory_order_seq_cst);
    wake_.notify_all();
  }
  /// Until `ready()`; false when the repetition was aborted.
  template <class Ready>
  bool wait(const Ready& ready) {
    for (int i = 0; i < spins_; ++i) {
      if (ready()) return true;
      if (aborted_.load(std::memory_order_relaxed)) return false;
      pause_briefly();
    }
    while (!ready()) {
      if (aborted_.load(std::memory_order_acquire)) return false;
      sleep_unless(ready);
    }
    return true;
  }
  /// Sleeps until somebody publishes, unless `ready()` by then.
  template <class Ready>
  void sleep_unless(const Ready& ready) {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    const u32 seen = wake_.load(std::memory_order_seq_cst);
    if (!ready() && !aborted_.load(std::memory_order_seq_cst)) wake_.wait(seen, std::memory_order_seq_cst);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

 private:
  struct alignas(64) Counter {
    std::atomic<u32> value{0};
  };  // a cache line each
  void loop(int w);

  const int count_, spins_;
  const std::function<void(int)> walk_;
  std::unique_ptr<Counter[]> progress_, left_;  ///< steps ended; repetitions left
  alignas(64) std::atomic<u32> generation_{0};
  alignas(64) std::atomic<u32> wake_{0};
  std::atomic<u32> sleepers_{0};
  std::atomic<bool> aborted_{false}, stopping_{false};
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace terrace::run
