#include "terrace/run/workers.h"

namespace terrace::run {

Workers::Workers(int count, int spins, std::function<void(int)> walk)
    : count_(count),
      spins_(spins),
      walk_(std::move(walk)),
      progress_(new Counter[static_cast<std::size_t>(count)]),
      left_(new Counter[static_cast<std::size_t>(count)]) {
  threads_.reserve(static_cast<std::size_t>(count));  // a thread that found no place would be joined before it may end
  try {
    for (int w = 1; w < count; ++w) threads_.push_back(std::make_unique<Thread>([this, w] { loop(w); }));
  } catch (...) {
    stopping_ = true;
    start();
    throw;
  }
}

Workers::~Workers() {
  stopping_.store(true, std::memory_order_seq_cst);
  start();
  threads_.clear();
}

void Workers::start() {
  generation_.fetch_add(1, std::memory_order_seq_cst);
  generation_.notify_all();
}

void Workers::abort_and_join() {
  aborted_.store(true, std::memory_order_seq_cst);
  wake_.fetch_add(1, std::memory_order_seq_cst);
  wake_.notify_all();
  const u32 generation = generation_.load();
  for (int w = 1; w < count_; ++w) {
    auto& left = left_[static_cast<std::size_t>(w)].value;
    for (u32 seen = left.load(); seen != generation; seen = left.load()) left.wait(seen);
  }
}

void Workers::loop(int w) {
  auto& left = left_[static_cast<std::size_t>(w)].value;
  for (u32 seen = 0;;) {
    for (int i = 0; i < spins_ && generation_.load(std::memory_order_acquire) == seen; ++i) pause_briefly();
    generation_.wait(seen, std::memory_order_acquire);
    ++seen;  // one repetition at a time: the next starts only after all workers have ended this one
    if (stopping_.load(std::memory_order_acquire)) return;
    walk_(w);
    left.store(seen, std::memory_order_seq_cst);
    left.notify_all();
  }
}

}  // namespace terrace::run
