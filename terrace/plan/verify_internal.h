// Parts of the verifier. Each part may rely on what the ones before it have established: structure first.
#pragma once

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

#include "terrace/plan/verify.h"

namespace terrace::verifying {

/// Bytes [lo, hi) of a tier or a file.
struct Range {
  u64 lo = 0, hi = 0;
  bool meets(Range o) const { return lo < o.hi && o.lo < hi; }
};

/// The part of a value that a step uses; axis -1: all of it. A cut that spans its whole axis is stated as -1.
struct Cut {
  int axis = -1;
  i64 begin = 0, end = 0;
  bool operator==(const Cut&) const = default;
  bool meets(const Cut& o) const { return axis < 0 || axis != o.axis || (begin < o.end && o.begin < end); }
};

/// Steps of a body: which must have ended before which may start, through `done` edges alone.
class Order {
 public:
  explicit Order(const Body& body);
  /// A step that can never start: its edges and the order of issue in the lanes wait for one another; else kNone.
  u32 stuck() const { return stuck_; }
  /// Where each step stands in one order that edges and lanes allow (the order of steps where they do).
  u32 position(u32 step) const { return position_[step]; }
  bool before(u32 first, u32 second) const { return row(second)[first / 64] >> (first % 64) & 1; }
  /// Steps before this one as bits, `words()` words.
  const u64* row(u32 step) const { return bits_.data() + static_cast<std::size_t>(step) * words_; }
  std::size_t words() const { return words_; }

 private:
  void sort(const Body& body);
  void close(const Body& body);
  std::size_t words_ = 0;
  std::vector<u32> sequence_, position_;
  std::vector<u64> bits_;
  u32 stuck_ = kNone;
};

struct Access {
  u32 step = 0;
  ValueId value = kNone;
  Cut cut;
  bool write = false;
};

/// What lives at a placement from its first write to its last use: for a ring placement, one streamed block.
struct Tenant {
  u32 placement = kNone;
  u32 block = kNone;
  u32 first = kNone, last = 0;  ///< positions of its uses
  std::vector<Access> uses;
};

/// What the parts share.
struct Context {
  const Graph& graph;
  const Machine& machine;
  const Plan& plan;
  std::vector<const Placement*> true_place;  ///< of each weight; null if none is known
  std::vector<std::vector<i64>> bounds;      ///< upper bounds of symbols, by body
  std::vector<i64> widest;                   ///< over all bodies
  std::vector<u32> next_version;             ///< of each value: the state that replaces it
  std::vector<bool> loaded;                  ///< placements that a Move of a `once` body fills
  std::vector<Finding> findings;
  std::array<int, 16> count{};

  template <class... T>
  void report(Defect d, fmt::format_string<T...> format, T&&... args) {
    if (++count[static_cast<std::size_t>(d)] <= 16)
      findings.push_back({d, fmt::format(format, std::forward<T>(args)...)});
  }
  const std::vector<i64>& bounds_of(const Placement& p) const { return p.body == kNone ? widest : bounds[p.body]; }
  bool is_partial(const Placement& p) const { return p.row_begin != 0 || p.row_end != 0; }
  /// Bytes of one index along axis 0.
  u64 slab_bytes(ValueId v, std::span<const i64> symbols) const;
  Bytes needed_bytes(const Placement& p) const;
  /// Payload and padding.
  Range reserved(const Placement& p) const { return {p.offset - p.pad_before, p.offset + p.bytes.count + p.pad_after}; }
  Cut cut_of(u32 body, const Operand& o) const;
  /// "decode step 12 (linear)"
  std::string label(u32 body, u32 step) const;
  std::string label(u32 placement) const;
  /// Whether `b` lies exactly on `a` and is written where `a` is read for the last time, by an op that allows it.
  bool takes_over(const Placement& a, const Placement& b) const;
  bool is_ring_move(const Step& s) const { return s.kind == StepKind::move && !s.gather && s.block != kNone; }
};

/// Indices, intervals, kinds; false: nothing else can be checked.
bool check_structure(Context& c);
/// Operands of every step; false: as above.
bool check_operands(Context& c);
/// Budget, arenas, true places in files, sizes, placements that share bytes.
void check_memory(Context& c);
/// Transfers in whole granules.
void check_transfers(Context& c);
/// Every node computed once and whole; scratch.
void check_nodes(Context& c, u32 body);
/// Arrival, order, races, lifetimes in one repetition. Fills the tenants.
void check_order(Context& c, u32 body, const Order& order, std::vector<Tenant>& tenants);
/// Ring moves of `second`, repeated right after `first`.
void check_repetition(Context& c, u32 first, const Order& first_order, const std::vector<Tenant>& first_tenants,
                      u32 second, const Order& second_order);

}  // namespace terrace::verifying
