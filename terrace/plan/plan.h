// Where every byte lives, when it moves and which unit computes: the only place where such decisions stand.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "terrace/graph/graph.h"
#include "terrace/machine/machine.h"

namespace terrace {

enum class Owner : std::uint8_t {
  plan,  ///< lies in this plan's arena of the tier
  file,  ///< lies in a model file: `offset` counts from the file's start; read-only
};
/// What a placement is for; the rows of the table that `terrace plan` prints.
enum class Use : std::uint8_t { weights, ring, state, inputs, activations, scratch, staging };
std::string_view name_of(Use u);
inline constexpr int kUses = 7;

/// A value, or rows [row_begin, row_end) of it along axis 0, at a place. A later version of a state has the placement
/// of its root. `bytes` is the payload at the upper bounds of the symbols in its body (or of the graph).
struct Placement {
  ValueId value = kNone;           ///< kNone: scratch of a kernel or staging of a Move
  i64 row_begin = 0, row_end = 0;  ///< 0, 0: the whole value
  TierId tier = 0;
  Owner owner = Owner::plan;
  Use use = Use::activations;
  u32 file = kNone;  ///< index into Plan::files for Owner::file
  u64 offset = 0;
  Bytes bytes;
  /// Bytes around the payload that a transfer into it may overwrite (direct I/O reads whole granules):
  /// [offset - pad_before, offset + bytes + pad_after) is reserved.
  u32 pad_before = 0, pad_after = 0;
  /// The body in which it lives, from the step that births it to the one that reads it last; kNone: always.
  u32 body = kNone;
  u32 birth = 0, death = 0;
};

/// A use of a value by a step: the version `value` at `placement`, cut to [begin, end) along `axis` (-1: all of it).
/// Rows of a partly placed value count in the value's rows, not the placement's.
struct Operand {
  ValueId value = kNone;
  u32 placement = kNone;
  i64 begin = 0, end = 0;
  std::int8_t axis = -1;
};

/// Why a step may not start yet.
struct Edge {
  enum Kind : std::uint8_t {
    done,      ///< step `of` of this repetition has ended (for a Move: its bytes have arrived)
    released,  ///< in the repetition before, whichever body that was: all readers of stream block `of` have ended
  } kind = done;
  u32 of = 0;
};

enum class StepKind : std::uint8_t { compute, move };
enum class Lane : std::uint8_t { compute, io };

/// Moves of rows picked by ids take them from `operands`: reads = {table at file, ids}, writes = {rows}; one request a
/// row.
struct Step {
  StepKind kind = StepKind::compute;
  Lane lane = Lane::compute;
  bool gather = false;        ///< a Move addressed by values at run time
  UnitId unit = 0;            ///< of a Compute
  LinkId link = 0;            ///< of a Move
  std::uint16_t workers = 1;  ///< of a Compute: 1, or all of the plan's
  std::uint16_t n_reads = 0, n_writes = 0, n_edges = 0;
  NodeId node = kNone;    ///< of a Compute or a gather
  u32 kernel = kNone;     ///< index into Plan::kernels
  u32 scratch = kNone;    ///< placement: scratch of a kernel, staging of a Move
  u32 block = kNone;      ///< of a Move that fills the ring: index into Plan::stream
  u32 first_operand = 0;  ///< in Body::operands: reads, then writes
  u32 first_edge = 0;     ///< in Body::edges
  Bytes payload;          ///< bytes read and written by a Compute, or moved; at the body's typical symbols
  Seconds seconds;        ///< uncontended, at the body's typical symbols
};

/// One row block that travels from a file through the ring, once in every repetition of every repeated body.
struct StreamBlock {
  u32 from = kNone;  ///< placement in the file
  u32 to = kNone;    ///< placement in the ring
};

struct Interval {
  i64 lo = 0, hi = 0;  ///< inclusive
  bool operator==(const Interval&) const = default;
};

/// Most steps of a body: checking their order takes steps^2 / 8 bytes.
inline constexpr std::size_t kMaxBodySteps = 32768;

/// Steps that run as one repetition. The computes of a repetition start after all computes of the one before have
/// ended; moves that fill the ring may start earlier, as soon as their edges allow. Step order is the order of issue in
/// each lane.
struct Body {
  std::string name;               ///< "load", "prompt", "decode"
  bool once = false;              ///< run once before all others: brings pinned weights in
  std::vector<ValueId> goals;     ///< it computes the nodes that these values need; none: all nodes
  std::vector<Interval> symbols;  ///< it may run when every symbol lies in its interval
  std::vector<i64> typical;       ///< symbol values at which steps' seconds and payloads are stated
  std::vector<Step> steps;
  std::vector<Operand> operands;
  std::vector<Edge> edges;

  std::span<const Operand> reads(const Step& s) const { return {operands.data() + s.first_operand, s.n_reads}; }
  std::span<const Operand> writes(const Step& s) const {
    return {operands.data() + s.first_operand + s.n_reads, s.n_writes};
  }
  std::span<const Edge> after(const Step& s) const { return {edges.data() + s.first_edge, s.n_edges}; }
  bool holds(std::span<const i64> values) const;
};

struct Arena {
  TierId tier = 0;
  Bytes bytes;
};

/// Memory that the process needs besides the arenas (binary, stacks, tokenizer, page tables, ...).
struct Reserve {
  std::string name;
  TierId tier = 0;
  Bytes bytes;
  std::string source;  ///< how the figure was got
};

struct TierBudget {
  TierId tier = 0;
  Bytes bytes;
};

struct PlanFile {
  std::string path;
  Bytes bytes;
};

struct Plan {
  std::string machine;  ///< name
  u64 graph_fingerprint = 0;
  std::vector<std::string> tiers;  ///< names, by TierId
  std::vector<TierBudget> budget;  ///< of the whole process; a tier not named has no limit but its capacity
  Bytes smallest_budget;           ///< of main memory, with which this graph could still be planned
  std::vector<Reserve> reserves;
  std::vector<Arena> arenas;
  std::vector<PlanFile> files;
  std::vector<Placement> placements;
  std::vector<std::string> kernels;
  std::vector<StreamBlock> stream;
  std::vector<Body> bodies;
  int workers = 1;    ///< compute threads
  int io_depth = 1;   ///< most requests in flight
  u32 granule = 512;  ///< alignment of file offset, length and address in transfers
  Bytes core_cache;   ///< the largest cache that each worker has to itself: kernels' tiles; 0: unknown

  /// The first repeated body of all nodes that may run with these symbol values; kNone if there is none.
  u32 body_for(std::span<const i64> symbols) const;
  u32 find_body(std::string_view name) const;
  Bytes arena_bytes(TierId t) const;
  /// Reserves plus arena.
  Bytes total_bytes(TierId t) const;
};

/// The plan as text: tiers x uses, bodies with times. `steps`: every step as well.
std::string to_text(const Plan& plan, const Graph& graph, bool steps);

}  // namespace terrace
