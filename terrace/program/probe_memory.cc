// Threads, memory and barriers of the probe.
#include <time.h>

#include <algorithm>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/program/probe_parts.h"

namespace terrace::probe {
namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

using Lanes [[gnu::vector_size(32), gnu::may_alias]] = u64;

/// Reads everything with eight independent sums, so that loads and not additions limit it. Written out: the sums must
/// stay in registers.
[[gnu::always_inline]] inline u64 sum_lines(const std::byte* p, u64 bytes) {
  const auto* v = reinterpret_cast<const Lanes*>(p);
  Lanes a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
  for (u64 i = 0; i + 8 <= bytes / 32; i += 8) {
    a += v[i], b += v[i + 1], c += v[i + 2], d += v[i + 3];
    e += v[i + 4], f += v[i + 5], g += v[i + 6], h += v[i + 7];
  }
  const Lanes s = ((a + b) + (c + d)) + ((e + f) + (g + h));
  return s[0] + s[1] + s[2] + s[3];
}
u64 sum_any(const std::byte* p, u64 bytes) { return sum_lines(p, bytes); }
#if defined(__x86_64__)
[[gnu::target("avx2")]] u64 sum_avx2(const std::byte* p, u64 bytes) { return sum_lines(p, bytes); }
#endif

u64 (*best_sum())(const std::byte*, u64) {
#if defined(__x86_64__)
  if (best_isa() >= Isa::avx2) return sum_avx2;
#endif
  return sum_any;
}

double quantile(std::vector<double> v, double q) {
  const auto at = v.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(v.size() - 1));
  std::nth_element(v.begin(), at, v.end());
  return *at;
}

}  // namespace

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  const auto mid = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), mid, v.end());
  if (v.size() % 2 == 1) return *mid;
  return (*mid + *std::max_element(v.begin(), mid)) / 2;
}

/// Above the shortest, this much is still the machine's own noise; who is interrupted takes many times as long.
constexpr double kNoise = 1.5;

bool settled(const std::vector<double>& v) {
  return v.empty() || quantile(v, 0.25) <= kNoise * *std::min_element(v.begin(), v.end());
}

double undisturbed(const std::vector<double>& v, double q) {
  if (v.empty()) return 0;
  const double shortest = *std::min_element(v.begin(), v.end());
  return settled(v) ? std::min(quantile(v, q), kNoise * shortest) : shortest;
}

HugeBuffer::HugeBuffer(u64 bytes, int fill) : size_(round_up(bytes, run::kHugePage)), memory_(Bytes{size_}) {
  std::memset(memory_.data(), fill, size_);
}

Pinned::Pinned(Part part, int threads) {
  if (threads < 2 || ::sched_getaffinity(0, sizeof before_, &before_) != 0 || CPU_COUNT(&before_) < threads) return;
  int cpu = 0;
  while (!CPU_ISSET(cpu, &before_)) ++cpu;
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  CPU_SET(cpu, &wanted);
  if (part == others) CPU_XOR(&wanted, &wanted, &before_);
  set_ = ::sched_setaffinity(0, sizeof wanted, &wanted) == 0;
}

Pinned::~Pinned() {
  if (set_) ::sched_setaffinity(0, sizeof before_, &before_);
}

Team::Team(int threads) : size_(std::max(threads, 1)) {
  {
    const Pinned workers(Pinned::others, size_);
    for (int w = 1; w < size_; ++w) threads_.emplace_back([this, w] { work(w); });
  }
  caller_ = std::make_unique<Pinned>(Pinned::first, size_);
}

Team::~Team() {
  stop_ = true;
  barrier();
  for (std::thread& t : threads_) t.join();
}

void Team::work(int worker) {
  for (;;) {
    barrier();
    if (stop_) return;
    (*job_)(worker);
    barrier();
  }
}

void Team::run(const std::function<void(int)>& job) {
  job_ = &job;
  barrier();
  job(0);
  barrier();
}

void Team::barrier() {
  if (size_ == 1) return;
  const unsigned phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
    return;
  }
  // Idle workers sleep: they would disturb what one thread measures, and with fewer cores than threads everything.
  for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins)
    if (spins < 20000)
      relax();
    else
      phase_.wait(phase, std::memory_order_acquire);
}

double read_rate(Team& team, int threads, const HugeBuffer& buffer, u64 bytes_each, double seconds) {
  bytes_each = std::min(round_down(bytes_each, 4096), round_down(buffer.size() / static_cast<u64>(threads), 4096));
  if (bytes_each == 0) return 0;
  // Small pieces are read several times in one timed pass, so that barriers do not count.
  const u64 repeat = std::max<u64>(1, (u64{8} << 20) / bytes_each);
  u64 (*const sum)(const std::byte*, u64) = best_sum();
  std::vector<std::atomic<u64>> sums(static_cast<std::size_t>(threads));
  const std::function<void(int)> pass = [&](int w) {
    if (w >= threads) return;
    u64 s = 0;
    for (u64 r = 0; r < repeat; ++r) {
      s += sum(buffer.data() + static_cast<u64>(w) * bytes_each, bytes_each);
      asm volatile("" ::: "memory");
    }
    sums[static_cast<std::size_t>(w)].store(s, std::memory_order_relaxed);
  };
  team.run(pass);
  std::vector<double> rates;
  const double end = now() + seconds;
  const auto bytes = static_cast<double>(bytes_each * repeat * static_cast<u64>(threads));
  do {
    const double t = now();
    team.run(pass);
    rates.push_back(bytes / (now() - t));
  } while (rates.size() < 3 || now() < end);
  return median(rates);
}

double barrier_seconds(Team& team, double seconds) {
  if (team.size() == 1) return 0;
  // Batches far shorter than a scheduler's time slice, timed by the first worker: most of them nobody interrupts.
  constexpr int kRounds = 16, kBatches = 32;
  std::vector<double> times;
  const std::function<void(int)> batches = [&](int worker) {
    team.barrier();
    for (int b = 0; b < kBatches; ++b) {
      const double t = now();
      for (int i = 0; i < kRounds; ++i) team.barrier();
      if (worker == 0) times.push_back((now() - t) / kRounds);
    }
  };
  const double end = now() + seconds;
  do team.run(batches);
  while (now() < end);
  return undisturbed(times);
}

}  // namespace terrace::probe
