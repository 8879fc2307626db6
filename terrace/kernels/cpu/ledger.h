// Counts what attention's kernels move into and out of a cache of a stated size, as they run.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "terrace/core/units.h"

namespace terrace {

/// What the bytes belong to.
enum class AttentionOperand : std::uint8_t { q, k, v, o, lse, d_o, d_q, d_k, d_v, scores, scratch };
inline constexpr int kAttentionOperands = 11;
std::string_view name_of(AttentionOperand o);

/// A fully associative cache of 64-byte lines that evicts the line touched longest ago. A line that is missing is
/// fetched, unless a write covers all of it; a line that was written goes back when it is evicted or flushed.
class AttentionLedger {
 public:
  /// All in bytes, whole lines.
  struct Traffic {
    u64 fetched = 0;   ///< lines brought in
    u64 claimed = 0;   ///< lines that were missing and are written whole: a cache that fetches before it writes, as
                       ///< processors' do, brings these in too
    u64 returned = 0;  ///< lines written back
    u64 moved() const { return fetched + returned; }
    Traffic& operator+=(const Traffic& t);
  };
  enum Access : std::uint8_t { read, write, update };

  explicit AttentionLedger(Bytes cache);
  /// `rows` runs of `bytes`, `stride` bytes apart, the first at `at`, in order.
  void touch(AttentionOperand o, const void* at, i64 rows, i64 bytes, i64 stride, Access how);
  /// Writes back what is still there; the cache is empty then.
  void flush();
  const Traffic& of(AttentionOperand o) const { return traffic_[static_cast<std::size_t>(o)]; }
  Traffic total() const;

 private:
  struct Line {
    u64 number = 0;
    u32 newer = 0, older = 0;  ///< in order of use; slot 0 is the ring's end
    u32 chain = 0;             ///< the next line in the same bucket
    AttentionOperand owner = AttentionOperand::q;
    bool dirty = false;
  };
  u32& bucket_of(u64 number);
  u32 find(u64 number);
  void unlink(u32 slot);
  void make_newest(u32 slot);
  u32 take_oldest();
  void give_back(Line& line);

  std::vector<Line> lines_;
  std::vector<u32> buckets_;
  u32 used_ = 0;
  std::array<Traffic, kAttentionOperands> traffic_{};
};

}  // namespace terrace
