// What the planner's passes hand on to one another. Internal to the planner.
#pragma once

#include <string>
#include <vector>

#include "terrace/machine/cost.h"
#include "terrace/plan/planner/planner.h"

namespace terrace::planner {

/// Sizes at which one body is planned: its intervals after the chunk bound, upper bounds, and typical values.
struct BodySizes {
  std::vector<Interval> intervals;
  std::vector<i64> hi, typical;
};

/// A stretch of bytes of the region that all bodies share, over nodes [birth, death] (the node count: to the end).
struct Slot {
  enum Kind : std::uint8_t { value, scratch, staging } kind = value;
  u32 of = 0;  ///< the value, or the node
  u32 birth = 0, death = 0;
  u64 bytes = 0, offset = 0;
};

/// One body's use of the region.
struct Region {
  std::vector<Slot> slots;
  /// Values that have taken over the bytes of another, and in which slot they lie.
  std::vector<std::pair<ValueId, u32>> overlaid;
  u64 bytes = 0;
  u64 lower_bound = 0;  ///< most bytes live at once: no packing can do with less
};

/// How a weight may be kept.
struct WeightUse {
  u32 file = kNone;           ///< its place: index into PlanRequest::weights
  u64 offset = 0, bytes = 0;  ///< in the file
  i64 rows = 1, unit = 1;     ///< along axis 0; cuts fall on multiples of `unit`
  u64 row_bytes = 0;
  u32 passes = 0;         ///< nodes that read all of it in a repetition
  bool gathered = false;  ///< some nodes pick rows of it
  bool whole = false;     ///< must be pinned as a whole
  i64 pinned = 0;         ///< rows [0, pinned) stay in memory
};

/// Which operand of a node may be cut by rows, and along which axis of the op.
struct Split {
  int operand = -1;
  const Axis* axis = nullptr;
};

struct Block {
  u32 node = 0;
  ValueId weight = 0;
  i64 begin = 0, end = 0;
  u64 ring_offset = 0;  ///< of the whole granules
};

/// How weights are kept, from all in memory to almost none.
enum class Mode : std::uint8_t {
  resident,  ///< all pinned
  tables,    ///< all pinned but tables that are only picked from
  streamed,  ///< rows of the rest through a ring, tables from the file
};

struct Draft {
  Draft(const Graph& g, const Machine& m, const KernelTable& k, const PlanRequest& r)
      : graph(g), machine(m), kernels(k), request(r) {}

  const Graph& graph;
  const Machine& machine;
  const KernelTable& kernels;
  const PlanRequest& request;

  TierId memory = 0;
  TierId file_tier = kNoTier;
  LinkId link = 0;
  UnitId unit = 0;
  u32 granule = 64;
  u64 limit = ~u64{0};         ///< budget of main memory, or its capacity
  u64 reserved = 0;            ///< request.reserves there
  u64 plan_room = 0;           ///< kept for the plan itself, see plan_bytes
  std::vector<u32> kernel_of;  ///< by node: index into kernel_names
  std::vector<std::string> kernel_names;
  std::vector<WeightUse> weights;        ///< by value
  std::vector<Split> splits;             ///< by node
  std::vector<std::uint8_t> can_gather;  ///< by node: its table may stay in the file
  u64 input_bytes = 0, state_bytes = 0;  ///< persistent, rounded; inputs at input_bounds
  std::vector<std::vector<char>> computed;  ///< by body and node
  std::vector<std::vector<u32>> last_use;   ///< by body and value: last node that reads it; node count for outputs

  // Chosen by the search over chunk bounds and modes.
  Mode mode = Mode::resident;
  std::vector<BodySizes> sizes;   ///< by body
  std::vector<i64> input_bounds;  ///< most of each symbol in any body
  std::vector<Region> regions;    ///< by body
  u64 region_bytes = 0;
  u64 ring_bytes = 0, slot_bytes = 0;
  std::vector<Block> blocks;  ///< in stream order

  // Placements by what they hold.
  std::vector<u32> home;                       ///< by value: input, state, or pinned rows of a weight
  std::vector<u32> table;                      ///< by value: a whole weight in its file that gathers read
  std::vector<std::vector<u32>> body_home;     ///< by body and value: a computed value
  std::vector<std::vector<u32>> body_scratch;  ///< by body and node: scratch or staging
  std::vector<std::vector<u32>> occupants;  ///< by block: earlier blocks of this repetition whose bytes it takes over
  std::vector<std::vector<u32>> last_time;  ///< by block: blocks of the repetition before whose bytes it takes over

  Plan plan;
};

/// Bytes by which whole granules around [offset, offset + bytes) exceed nothing: what a transfer of it occupies.
inline u64 footprint(u64 offset, u64 bytes, u32 granule) {
  return round_up(offset + bytes, granule) - round_down(offset, granule);
}
/// What page tables take: an entry of 8 bytes a page of 4 KiB, and the levels above. A reserve of its own.
inline u64 page_tables(u64 arena) { return round_up(arena / 512, 4096) + (u64{16} << 10); }
inline u64 arena_total(u64 arena) { return arena + page_tables(arena); }
/// What the plan with its schedule and trace takes on the heap: so many bytes a step (measured: 360, and vectors that
/// have grown). A reserve of its own.
inline constexpr u64 kPlanBytesPerStep = 448;
u64 plan_bytes(const Draft& d);  ///< of the steps that the blocks chosen will give
/// The largest arena, in pages, that a limit leaves room for; 0 if none.
u64 largest_arena(u64 limit, u64 reserved);

bool gathers(const Draft& d, NodeId n);  ///< in the draft's mode, a Move carries the node out
Cost node_cost(const Graph& g, const Node& n, std::span<const i64> symbols);
u64 node_scratch(const Graph& g, const Node& n, std::span<const i64> symbols, int workers);
int node_workers(const Draft& d, NodeId n, std::span<const i64> typical);
Seconds node_seconds(const Draft& d, NodeId n, std::span<const i64> symbols, int workers);

// Passes, in order.
void check_request(Draft& d);
void choose_kernels(Draft& d);
void survey_weights(Draft& d);
void survey_lifetimes(Draft& d);
BodySizes sizes_at(const Draft& d, const BodyRequest& body, int halvings);
int max_halvings(const Draft& d);
Region pack_region(const Draft& d, std::size_t body, const BodySizes& sizes);

/// Tries to keep weights within `room` bytes of arena (ring included); false if that is not possible.
bool choose_residency(Draft& d, u64 room);
/// Arena bytes that the draft's mode needs at least for weights and ring.
u64 least_residency(const Draft& d);
void choose_sizes(Draft& d);  ///< chunk bounds, mode, regions, residency: the best that fits, or Error(does_not_fit)
Bytes smallest(Draft& d);
void place(Draft& d);
void emit_steps(Draft& d);
void connect_steps(Draft& d);
void state_times(Draft& d);

}  // namespace terrace::planner
