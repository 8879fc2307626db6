// The I/O lane: blocks of the ring in their endless order, rows picked by id, and pinned weights at the start.
// It belongs to worker 0, who serves it between compute steps.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "terrace/engine/schedule.h"
#include "terrace/engine/trace.h"
#include "terrace/plan/plan.h"
#include "terrace/run/files.h"
#include "terrace/run/host_engine.h"
#include "terrace/run/io_queue.h"
#include "terrace/run/workers.h"

namespace terrace::run {

/// Seconds of the steady clock.
double now_seconds();

/// When a transfer was handed over and when it had arrived; bytes that came, retries and whole granules included.
struct Transfer {
  double start = 0, end = 0;
  Bytes transferred;
};

class IoLane {
 public:
  IoLane(const Plan& plan, const HostOptions& options, const RingLayout& layout, std::span<std::byte* const> bases,
         Workers& workers);

  std::string path() const { return path_; }

  /// Runs the Moves of a body that runs once; fills records in step order.
  void load(const Body& body, const BodySchedule& schedule, std::vector<Transfer>& transfers);

  /// Begins a repetition whose first compute step is the team's step `base`. `views`: bound operands of the gathers.
  void begin(const Body& body, const BodySchedule& schedule, u32 base, const TensorView* views);
  /// Takes completions and hands over whatever may start. Never sleeps.
  void pump();
  /// Sleeps until at least one request has completed. False, at once, if none is in flight.
  bool sleep();
  /// Error(failure) if a file was written since the lane began: what was read may be of two versions.
  void check_unchanged() const;
  /// True when all Moves of this repetition have arrived.
  bool finished() const { return gathers_ended() == n_gathers_ && ring_arrived() == (repetition_ + 1) * blocks_; }

  bool ready(const Wait& w) const {
    return (w.block < 0 || ring_arrived() > repetition_ * blocks_ + static_cast<u64>(w.block)) &&
           (w.gather < 0 || static_cast<i32>(gathers_ended()) > w.gather);
  }
  const Transfer& ring_transfer(u32 block) const { return ring_transfers_[(repetition_ & 1) * blocks_ + block]; }
  const Transfer& gather_transfer(std::size_t gather) const { return gather_transfers_[gather]; }

 private:
  enum class Purpose : std::uint8_t { none, ring, gather, load };
  struct Slot {
    IoRequest request;
    const Placement* source = nullptr;
    u64 what = 0;  ///< number in the ring's order; row of the gather; step of a load
    u32 need = 0;  ///< bytes from the request's start to the payload's end
    u32 payload = 0;
    u32 got = 0;
    u32 retries = 0;
    Purpose purpose = Purpose::none;
  };

  u64 ring_arrived() const { return arrived_.load(std::memory_order_seq_cst); }
  u32 gathers_ended() const { return gathers_ended_.load(std::memory_order_seq_cst); }
  bool may_submit(u64 number) const;
  bool passed(i32 ordinal) const { return ordinal < 0 || workers_.passed(base_ + static_cast<u32>(ordinal) + 1); }
  void submit_ring();
  void submit_gather();
  void open_gather();
  void enqueue(Purpose purpose, u64 what, const Placement& source, u64 first, u64 bytes, std::byte* granules);
  void flush();
  void take(bool wait);
  void complete(const IoCompletion& c);
  void arrived(Slot& s);
  void row_arrived(const Slot& s);
  void retry(Slot& s);
  Transfer& transfer_of(const Slot& s);
  [[noreturn]] void fail(const Slot& s, const std::string& what) const;

  const Plan& plan_;
  const HostOptions& options_;
  const RingLayout& layout_;
  const std::vector<std::byte*> bases_;
  Workers& workers_;
  Files files_;
  std::vector<i64> written_;  ///< by file: when it was written last, as of the lane's beginning
  std::string path_;
  std::unique_ptr<IoQueue> queue_;

  std::vector<Slot> slots_;
  std::vector<u32> free_;
  std::vector<IoRequest> batch_;
  std::vector<IoCompletion> completions_;
  u32 in_flight_ = 0;
  u64 requests_ = 0;  ///< completed, for the fault hook

  const u64 blocks_;
  u64 repetition_ = ~u64{0};  ///< begun last; its successor is 0 at first
  u64 submitted_ = 0;         ///< of the ring
  std::atomic<u64> arrived_{0};
  std::vector<char> out_of_order_;  ///< by number in the ring's order, around
  std::vector<Transfer> ring_transfers_;

  const Body* body_ = nullptr;
  const BodySchedule* schedule_ = nullptr;
  const TensorView* views_ = nullptr;
  u32 base_ = 0;
  u32 n_gathers_ = 0;
  std::atomic<u32> gathers_ended_{0};
  bool gather_open_ = false;
  u32 rows_ = 0, rows_submitted_ = 0, rows_ended_ = 0;
  std::vector<Transfer> gather_transfers_;
  std::vector<Transfer>* load_transfers_ = nullptr;
  Bytes loaded_;
};

}  // namespace terrace::run
