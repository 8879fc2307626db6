// What the probe is made of. Internal to probe*.cc and their tests.
#pragma once

#include <sched.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "terrace/graph/op_def.h"
#include "terrace/program/probe.h"
#include "terrace/run/memory.h"

namespace terrace::probe {

double now();  ///< seconds, monotonic
double median(std::vector<double> v);
/// Whether a quarter of these times of computing is near the shortest: else others had most of the processors, and more
/// measuring is worth it.
bool settled(const std::vector<double>& times);
/// The lower quartile (or quantile q) of times of computing; the shortest where they are not settled. Other programs
/// only ever make times longer, and threads that wait for each other suffer most.
double undisturbed(const std::vector<double>& times, double q = 0.25);

/// Anonymous memory in 2 MiB pages where the system gives them, touched.
class HugeBuffer {
 public:
  /// Throws Error(failure) when the system refuses.
  explicit HugeBuffer(u64 bytes, int fill = 0x3c);
  std::byte* data() const { return memory_.data(); }
  u64 size() const { return size_; }

 private:
  u64 size_;
  run::ArenaMemory memory_;
};

/// Keeps the calling thread, and threads it starts, on some of the processors it may use. On a busy machine two threads
/// that wait for each other otherwise lie on one processor for good: then waiting is what is measured.
class Pinned {
 public:
  /// The first of them, or all but the first. Does nothing where there are not `threads` processors for as many
  /// threads.
  enum Part { first, others };
  Pinned(Part part, int threads);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_{};
  bool set_ = false;
};

/// Threads that meet at a spinning barrier before and after every job, as an engine's workers do.
class Team {
 public:
  explicit Team(int threads);
  ~Team();
  int size() const { return size_; }
  /// Runs job(worker) on all of them; returns when all have ended.
  void run(const std::function<void(int)>& job);
  /// For jobs that synchronise among themselves.
  void barrier();

 private:
  void work(int worker);
  int size_;
  std::unique_ptr<Pinned> caller_;
  const std::function<void(int)>* job_ = nullptr;
  bool stop_ = false;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
  std::vector<std::thread> threads_;
};

struct Cache {
  int level = 1;
  u64 bytes = 0;
  int instances = 1;
  int line = 64;
};
/// Data and unified caches, one entry a level: from the topology program, else from /sys; empty when neither knows.
std::vector<Cache> caches(const std::string& topology_program);
u64 total_memory();      ///< MemTotal
u64 available_memory();  ///< MemAvailable
std::string today();     ///< "2026-11-24"

/// What other programs and other guests take of the processors, from its making on.
class OtherLoad {
 public:
  OtherLoad();
  /// Share of all processors' time, 0 to 1; 0 where /proc/stat does not tell.
  double share() const;

 private:
  double others_ = 0, all_ = 0;  ///< seconds at the start
};

/// Bytes a second that `threads` of the team read together, each from its own `bytes_each` of `buffer`.
double read_rate(Team& team, int threads, const HugeBuffer& buffer, u64 bytes_each, double seconds);
/// Seconds of one barrier of the team.
double barrier_seconds(Team& team, double seconds);

/// Seconds that the engine takes for a step of `m`'s unit 0 besides its arithmetic, with cold caches.
double engine_step_seconds(const Machine& m, int threads, Isa isa, const HugeBuffer& evict);

/// Operands and attributes of a training op for n rows (r rows of weights), in f32 where the type can be chosen; false
/// for an op not known there.
bool training_inputs(std::string_view op, i64 n, i64 r, Attrs& attrs, std::vector<TensorSpec>& in);
/// Makes the operands' types those that the kernel takes, and the attribute that of its result where it chooses one.
void take_formats(const Kernel& k, Attrs& attrs, std::vector<TensorSpec>& in);

/// Rates of one kernel at team.size() threads. `weights` is scratch memory much larger than the last cache.
/// False if the probe does not know how to call this op.
bool kernel_rate(const Kernel& k, Team& team, const HugeBuffer& weights, u64 cache_bytes, double seconds,
                 UnitRate& out);
/// Kernels that a planner may choose at this instruction set.
std::vector<const Kernel*> choosable(const KernelTable& table, Isa isa);

struct DiskRates {
  std::vector<LinkRate> rates;
  double best = 0;
  double latency = 0;  ///< of one 4 KiB request, seconds
  u64 granule = 4096;
  u64 capacity = 0;      ///< of the file system
  bool io_uring = true;  ///< false: pread
  bool direct = true;    ///< false: the file system refuses direct I/O
};
DiskRates disk_rates(const std::string& path, double seconds);

}  // namespace terrace::probe
