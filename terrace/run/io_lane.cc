#include "terrace/run/io_lane.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "terrace/core/error.h"

namespace terrace::run {
namespace {

constexpr u64 kLoadRequest = u64{4} << 20;
constexpr u32 kLoadDepth = 8;
constexpr u32 kMaxRetries = 64;  // without a byte gained

/// Where the bytes of `to` begin in the file: `from` may hold more rows than it.
u64 file_offset(const Placement& from, const Placement& to) {
  if (to.row_end <= to.row_begin) return from.offset;
  const u64 row = to.bytes.count / static_cast<u64>(to.row_end - to.row_begin);
  return from.offset + static_cast<u64>(to.row_begin - from.row_begin) * row;
}

/// When the file was written last: nanoseconds of the system's clock.
i64 last_write(int fd) {
  struct stat s {};
  if (fstat(fd, &s) != 0) return -1;
  return i64{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec;
}

}  // namespace

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

IoLane::IoLane(const Plan& plan, const HostOptions& options, const RingLayout& layout,
               std::span<std::byte* const> bases, Workers& workers)
    : plan_(plan),
      options_(options),
      layout_(layout),
      bases_(bases.begin(), bases.end()),
      workers_(workers),
      files_(plan, options.direct),
      blocks_(plan.stream.size()) {
  for (u32 i = 0; i < plan.files.size(); ++i) written_.push_back(last_write(files_.fd(i)));
  // The ring and gathers have io_depth requests each.
  const u32 depth = static_cast<u32>(std::max(1, plan.io_depth)), capacity = std::max(2 * depth, kLoadDepth);
  if (plan.files.empty()) {
    path_ = "none: no files";
  } else {
    std::string refusal;
    if (files_.direct() && options.io != IoMode::pread) queue_ = make_uring_queue(capacity, refusal);
    if (queue_ == nullptr && options.io == IoMode::uring)
      throw Error(ErrorKind::failure,
                  "io_uring cannot be had: " + (refusal.empty() ? "files refuse O_DIRECT" : refusal), {}, "use pread");
    path_ = queue_ != nullptr ? "io_uring, direct" : files_.direct() ? "pread, direct" : "pread, buffered";
    if (*files_.refusal() != 0) path_ += fmt::format(": {}", files_.refusal());
    if (!refusal.empty()) path_ += fmt::format(": io_uring refused by the kernel ({})", refusal);
    if (queue_ == nullptr) queue_ = make_pread_queue(capacity, !files_.direct());
  }
  slots_.resize(capacity);
  for (u32 i = 0; i < capacity; ++i) free_.push_back(capacity - 1 - i);
  batch_.reserve(capacity);
  completions_.resize(capacity);
  out_of_order_.assign(depth, 0);
  ring_transfers_.resize(2 * blocks_);
  std::size_t most_gathers = 0;
  for (const Body& b : plan.bodies)
    most_gathers = std::max<std::size_t>(
        most_gathers, static_cast<std::size_t>(
                          std::count_if(b.steps.begin(), b.steps.end(), [](const Step& s) { return s.gather; })));
  gather_transfers_.resize(most_gathers);
}

void IoLane::begin(const Body& body, const BodySchedule& schedule, u32 base, const TensorView* views) {
  body_ = &body;
  schedule_ = &schedule;
  views_ = views;
  base_ = base;
  ++repetition_;
  n_gathers_ = static_cast<u32>(schedule.gathers.size());
  gathers_ended_.store(0, std::memory_order_seq_cst);
  gather_open_ = false;
}

void IoLane::check_unchanged() const {
  for (u32 i = 0; i < written_.size(); ++i)
    if (last_write(files_.fd(i)) != written_[i])
      throw Error(ErrorKind::failure, "file changed while in use: it was written", plan_.files[i].path,
                  "start again; to replace a model, write the new one beside it and rename it");
}

void IoLane::pump() {
  if (in_flight_ > 0) take(false);
  submit_gather();
  submit_ring();
  flush();
}

bool IoLane::sleep() {
  if (in_flight_ == 0) return false;
  take(true);
  return true;
}

bool IoLane::may_submit(u64 number) const {
  const std::size_t b = number % blocks_;
  // Bytes that an earlier block still travels into are not free, whoever reads them.
  if (number >= layout_.distance[b] && ring_arrived() + layout_.distance[b] <= number) return false;
  if (number / blocks_ == repetition_) {
    const Wait& w = schedule_->ring[b].wait;
    return passed(w.compute) && ready(w);
  }
  if (number / blocks_ != repetition_ + 1 || !layout_.may_run_ahead[b]) return false;
  return schedule_ == nullptr || passed(schedule_->ring[b].free_after);
}

void IoLane::submit_ring() {
  if (blocks_ == 0) return;
  const u64 depth = out_of_order_.size();
  while (submitted_ - ring_arrived() < depth && !free_.empty() && may_submit(submitted_)) {
    const StreamBlock& block = plan_.stream[submitted_ % blocks_];
    const Placement &from = plan_.placements[block.from], &to = plan_.placements[block.to];
    ring_transfers_[submitted_ % (2 * blocks_)] = {now_seconds(), 0, Bytes{}};
    const u64 first = file_offset(from, to);
    enqueue(Purpose::ring, submitted_, from, first, to.bytes.count,
            bases_[to.tier] + to.offset - first % plan_.granule);
    ++submitted_;
  }
}

void IoLane::open_gather() {
  const GatherEntry& g = schedule_->gathers[gathers_ended()];
  const Step& step = body_->steps[g.step];
  rows_ = static_cast<u32>(views_[g.first_view + 1].dim[0]);
  rows_submitted_ = rows_ended_ = 0;
  const u64 slot = round_up(static_cast<u64>(views_[g.first_view].stride[0]), plan_.granule) + plan_.granule;
  if (rows_ * slot > plan_.placements[step.scratch].bytes.count)
    throw Error(ErrorKind::failure, "a gather has too little room for its rows", body_->name);
  gather_transfers_[gathers_ended()] = {now_seconds(), now_seconds(), Bytes{}};
  gather_open_ = true;
}

void IoLane::submit_gather() {
  while (gathers_ended() < n_gathers_) {
    const GatherEntry& g = schedule_->gathers[gathers_ended()];
    if (!gather_open_) {
      if (!passed(g.wait.compute) || !ready(g.wait)) return;
      open_gather();
    }
    const TensorView& table = views_[g.first_view];
    const auto row_size = static_cast<u64>(table.stride[0]);
    const Placement& from = plan_.placements[body_->reads(body_->steps[g.step])[0].placement];
    const Placement& staging = plan_.placements[body_->steps[g.step].scratch];
    while (rows_submitted_ < rows_ && rows_submitted_ - rows_ended_ < out_of_order_.size() && !free_.empty()) {
      i32 id;
      std::memcpy(&id, views_[g.first_view + 1].data + rows_submitted_ * sizeof(i32), sizeof id);
      if (id < 0 || id >= table.dim[0])
        throw Error(ErrorKind::failure, fmt::format("id {} is not a row of the table", id), body_->name);
      const u64 slot = round_up(row_size, plan_.granule) + plan_.granule;
      enqueue(Purpose::gather, rows_submitted_, from, from.offset + static_cast<u64>(id) * row_size, row_size,
              bases_[staging.tier] + staging.offset + rows_submitted_ * slot);
      ++rows_submitted_;
    }
    if (rows_ended_ < rows_) return;
    gather_open_ = false;  // empty, or ended
    gathers_ended_.fetch_add(1, std::memory_order_seq_cst);
    workers_.wake_sleepers();
  }
}

void IoLane::load(const Body& body, const BodySchedule& schedule, std::vector<Transfer>& transfers) {
  body_ = &body;
  load_transfers_ = &transfers;
  Bytes all;
  loaded_ = Bytes{};
  for (u32 i : schedule.loads) all += plan_.placements[body.writes(body.steps[i])[0].placement].bytes;
  std::size_t next = 0;
  u64 at = 0;  // of the next Move's bytes, whole granules
  while (next < schedule.loads.size() || in_flight_ > 0) {
    while (next < schedule.loads.size() && in_flight_ + batch_.size() < kLoadDepth) {
      const u32 i = schedule.loads[next];
      const Step& step = body.steps[i];
      const Placement &from = plan_.placements[body.reads(step)[0].placement],
                      &to = plan_.placements[body.writes(step)[0].placement];
      const u64 first = file_offset(from, to), skip = first % plan_.granule;
      if (at == 0) transfers[i].start = now_seconds();
      const u64 begin = at == 0 ? 0 : at - skip, end = std::min(to.bytes.count, at + kLoadRequest - skip);
      enqueue(Purpose::load, i, from, first + begin, end - begin,
              bases_[to.tier] + to.offset + begin - (at == 0 ? skip : 0));
      at += kLoadRequest;
      if (end == to.bytes.count) at = 0, ++next;
    }
    flush();
    sleep();
    if (options_.cancel != nullptr && options_.cancel->load())
      throw Error(ErrorKind::interrupted, "interrupted while loading");
    if (options_.on_load) options_.on_load(loaded_, all);
  }
  load_transfers_ = nullptr;
  body_ = nullptr;
}

void IoLane::enqueue(Purpose purpose, u64 what, const Placement& source, u64 first, u64 bytes, std::byte* granules) {
  const u32 index = free_.back();
  free_.pop_back();
  const u64 begin = round_down(first, plan_.granule), end = round_up(first + bytes, plan_.granule);
  Slot& s = slots_[index];
  s = Slot{};
  s.request = {index, files_.fd(source.file), begin, granules, static_cast<u32>(end - begin)};
  s.source = &source;
  s.what = what;
  s.need = static_cast<u32>(first + bytes - begin);
  s.payload = static_cast<u32>(bytes);
  s.purpose = purpose;
  batch_.push_back(s.request);
}

void IoLane::flush() {
  if (batch_.empty()) return;
  in_flight_ += static_cast<u32>(batch_.size());
  queue_->submit(batch_);
  batch_.clear();
}

void IoLane::take(bool wait) {
  const std::size_t n = queue_->reap(completions_, wait);
  in_flight_ -= static_cast<u32>(n);
  for (std::size_t i = 0; i < n; ++i) complete(completions_[i]);
  flush();
}

Transfer& IoLane::transfer_of(const Slot& s) {
  if (s.purpose == Purpose::ring) return ring_transfers_[s.what % (2 * blocks_)];
  if (s.purpose == Purpose::gather) return gather_transfers_[gathers_ended()];
  return (*load_transfers_)[s.what];
}

void IoLane::complete(const IoCompletion& c) {
  Slot& s = slots_[c.slot];
  i32 result = c.result;
  if (const int fault = options_.fault ? options_.fault(++requests_) : 0; fault > 0)
    result = -fault;
  else if (fault < 0)
    result = std::min(result, -fault);
  if (result == -EINTR || result == -EAGAIN) return retry(s);
  if (result < 0) fail(s, fmt::format("cannot read: {}", std::strerror(-result)));
  transfer_of(s).transferred += Bytes{static_cast<u64>(result)};
  s.got += static_cast<u32>(result);
  if (s.got >= s.need) return arrived(s);
  if (result == 0) fail(s, "file changed while in use: it ends early");
  // Direct reads go on at a whole granule.
  const u32 whole = static_cast<u32>(round_down(static_cast<u64>(result), plan_.granule));
  s.got -= static_cast<u32>(result) - whole;
  if (whole > 0) s.retries = 0;
  s.request.to += whole;
  s.request.offset += whole;
  s.request.bytes -= whole;
  retry(s);
}

void IoLane::retry(Slot& s) {
  if (++s.retries > kMaxRetries) fail(s, "file changed while in use, or its device gives nothing");
  batch_.push_back(s.request);
}

void IoLane::arrived(Slot& s) {
  transfer_of(s).end = now_seconds();
  const Purpose purpose = s.purpose;
  s.purpose = Purpose::none;
  free_.push_back(s.request.slot);
  if (purpose == Purpose::gather) row_arrived(s);
  if (purpose == Purpose::load) loaded_ += Bytes{s.payload};
  if (purpose != Purpose::ring) return;
  const u64 depth = out_of_order_.size();
  out_of_order_[s.what % depth] = 1;
  u64 n = ring_arrived();
  for (; out_of_order_[n % depth] != 0; ++n) out_of_order_[n % depth] = 0;
  if (n == ring_arrived()) return;
  arrived_.store(n, std::memory_order_seq_cst);
  workers_.wake_sleepers();
}

void IoLane::row_arrived(const Slot& s) {
  const GatherEntry& g = schedule_->gathers[gathers_ended()];
  const TensorView &table = views_[g.first_view], &rows = views_[g.first_view + 2];
  const auto row_size = static_cast<u64>(table.stride[0]);
  const Placement& staging = plan_.placements[body_->steps[g.step].scratch];
  const u64 slot = round_up(row_size, plan_.granule) + plan_.granule;
  const std::byte* staged = bases_[staging.tier] + staging.offset + s.what * slot;
  i32 id;
  std::memcpy(&id, views_[g.first_view + 1].data + s.what * sizeof(i32), sizeof id);
  const u64 offset = s.source->offset + static_cast<u64>(id) * row_size;
  std::memcpy(rows.data + static_cast<i64>(s.what) * rows.stride[0], staged + offset % plan_.granule, row_size);
  ++rows_ended_;
}

void IoLane::fail(const Slot& s, const std::string& what) const {
  throw Error(ErrorKind::failure, what,
              fmt::format("{} at byte {}", plan_.files[s.source->file].path, s.request.offset));
}

}  // namespace terrace::run
