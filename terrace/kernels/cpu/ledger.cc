#include "terrace/kernels/cpu/ledger.h"

#include <algorithm>
#include <bit>

namespace terrace {
namespace {
constexpr u64 kLine = 64;
}

std::string_view name_of(AttentionOperand o) {
  static constexpr std::string_view names[kAttentionOperands] = {"q",  "k",  "v",  "o",      "lse",    "do",
                                                                 "dq", "dk", "dv", "scores", "scratch"};
  return names[static_cast<std::size_t>(o)];
}

AttentionLedger::Traffic& AttentionLedger::Traffic::operator+=(const Traffic& t) {
  fetched += t.fetched;
  claimed += t.claimed;
  returned += t.returned;
  return *this;
}

AttentionLedger::AttentionLedger(Bytes cache)
    : lines_(std::max<u64>(cache.count / kLine, 1) + 1), buckets_(std::bit_ceil(2 * lines_.size()), 0) {}

void AttentionLedger::touch(AttentionOperand o, const void* at, i64 rows, i64 bytes, i64 stride, Access how) {
  const u64 size = static_cast<u64>(bytes);
  for (i64 r = 0; r < rows && bytes > 0; ++r) {
    const u64 begin = reinterpret_cast<std::uintptr_t>(at) + static_cast<u64>(r * stride), end = begin + size;
    for (u64 n = begin / kLine; n * kLine < end; ++n) {
      u32 slot = find(n);
      Traffic& t = traffic_[static_cast<std::size_t>(o)];
      if (slot != 0) {
        unlink(slot);
      } else {
        const bool whole = how == write && n * kLine >= begin && (n + 1) * kLine <= end;
        (whole ? t.claimed : t.fetched) += kLine;
        slot = used_ + 1 < lines_.size() ? ++used_ : take_oldest();
        lines_[slot].number = n;
        lines_[slot].chain = bucket_of(n);
        bucket_of(n) = slot;
      }
      make_newest(slot);
      if (how == read) continue;
      lines_[slot].owner = o;
      lines_[slot].dirty = true;
    }
  }
}

void AttentionLedger::flush() {
  for (u32 slot = 1; slot <= used_; ++slot) give_back(lines_[slot]);
  std::fill(buckets_.begin(), buckets_.end(), 0);
  lines_[0] = Line{};
  used_ = 0;
}

AttentionLedger::Traffic AttentionLedger::total() const {
  Traffic sum;
  for (const Traffic& t : traffic_) sum += t;
  return sum;
}

u32& AttentionLedger::bucket_of(u64 number) {
  return buckets_[(number * 0x9e3779b97f4a7c15u >> 32) & (buckets_.size() - 1)];
}

u32 AttentionLedger::find(u64 number) {
  u32 slot = bucket_of(number);
  while (slot != 0 && lines_[slot].number != number) slot = lines_[slot].chain;
  return slot;
}

void AttentionLedger::unlink(u32 slot) {
  const Line& line = lines_[slot];
  lines_[line.newer].older = line.older;
  lines_[line.older].newer = line.newer;
}

void AttentionLedger::make_newest(u32 slot) {
  Line &line = lines_[slot], &ring = lines_[0];
  line.newer = 0;
  line.older = ring.older;
  lines_[ring.older].newer = slot;
  ring.older = slot;
}

u32 AttentionLedger::take_oldest() {
  const u32 slot = lines_[0].newer;
  unlink(slot);
  give_back(lines_[slot]);
  u32* link = &bucket_of(lines_[slot].number);
  while (*link != slot) link = &lines_[*link].chain;
  *link = lines_[slot].chain;
  return slot;
}

void AttentionLedger::give_back(Line& line) {
  if (line.dirty) traffic_[static_cast<std::size_t>(line.owner)].returned += kLine;
  line.dirty = false;
}

}  // namespace terrace
