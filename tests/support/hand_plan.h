// A plan made by hand: a table gathered by rows, a matrix of which a quarter is pinned and the rest streamed in three
// blocks through a ring of two slots, a cache, and attention with scratch; bodies load, prompt and decode.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "terrace/graph/graph.h"
#include "terrace/machine/machine.h"
#include "terrace/ops/ops.h"
#include "terrace/plan/plan.h"

namespace terrace::testing {

inline Machine hand_machine() {
  Machine m;
  m.name = "hand";
  Tier dram, disk;
  dram.id = "dram";
  dram.kind = "dram";
  dram.capacity = 1_GiB;
  dram.read = dram.write = BytesPerSecond{10e9};
  disk.id = "disk";
  disk.kind = "nvme";
  disk.persistent = true;
  disk.capacity = 1_GiB;
  disk.granule = 512_B;
  disk.read = disk.write = BytesPerSecond{1e9};
  m.tiers = {dram, disk};
  Link link;
  link.from = 1;
  link.to = 0;
  link.rate = BytesPerSecond{1e9};
  m.links = {link};
  Unit cpu;
  cpu.id = "cpu";
  cpu.near = 0;
  cpu.rates = {{"", 1, OpsPerSecond{1e10}, {}, BytesPerSecond{10e9}, {}}};
  m.units = {cpu};
  return m;
}

/// Values by name, nodes in order: take_rows, linear, add, append_rows, attention.
struct HandGraph {
  Graph graph;
  ValueId ids, table, w, cache, x, y, z, cache1, o;
};

inline HandGraph hand_graph() {
  HandGraph h;
  GraphBuilder b;
  const SymbolId n = b.symbol("n", 4), pos = b.symbol("pos", 4);
  const auto f32 = [](Dim r, Dim c) { return TensorSpec{DType::f32, Layout::dense, {r, c}}; };
  h.ids = b.input("ids", {DType::i32, Layout::dense, {Dim::of(n)}});
  h.table = b.weight("table", f32(16, 64));
  h.w = b.weight("w", f32(64, 64));
  h.cache = b.state("cache", f32(8, 64));
  Attrs at;
  at.symbols[0] = pos;
  h.x = b.call(ops::take_rows, {h.table, h.ids}, {}, "x");
  h.y = b.call(ops::linear, {h.x, h.w}, {}, "y");
  h.z = b.call(ops::add, {h.y, h.x}, {}, "z");
  h.cache1 = b.call(ops::append_rows, {h.cache, h.z}, at, "cache1");
  at.ints = {2, 2, 0, 0};
  at.floats[0] = 0.125;
  h.o = b.call(ops::attention, {h.z, h.cache1, h.cache1}, at, "o");
  b.output(h.o);
  h.graph = b.finish();
  return h;
}

/// The steps of a repeated body, in order.
struct HandSteps {
  enum : u32 {
    bring0,
    bring1,
    gather,
    linear_pinned,
    linear0,
    linear1,
    bring2,
    linear2,
    add,
    append,
    attention,
    count
  };
};
/// Placements; those from `x` on stand once for prompt and once (`+ per_body`) for decode.
struct HandPlaces {
  enum : u32 {
    file_table,
    file_pinned,
    file0,
    file1,
    file2,
    ids,
    cache,
    pinned,
    ring0,
    ring1,
    ring2,
    x,
    y,
    z,
    o,
    scratch,
    staging,
    end
  };
  static constexpr u32 per_body = end - x;
};

class HandPlanMaker {
 public:
  HandPlanMaker() { h_ = hand_graph(); }

  Plan make() {
    using P = HandPlaces;
    p_.machine = "hand";
    p_.graph_fingerprint = h_.graph.fingerprint();
    p_.tiers = {"dram", "disk"};
    p_.budget = {{0, Bytes{256 << 10}}};
    p_.reserves = {{"binary", 0, Bytes{4096}, "made up"}};
    p_.arenas = {{0, Bytes{128 << 10}}};
    p_.files = {{"model", Bytes{kW + 64 * kRow}}};
    p_.kernels = {"linear.reference", "add.reference", "append_rows.reference", "attention.reference"};
    file(h_.table, 0, 0, kTable, 16);
    file(h_.w, 0, 16, kW, 16);
    for (i64 r = 16; r < 64; r += 16) file(h_.w, r, r + 16, kW + static_cast<u64>(r) * kRow, 16);
    memory(h_.ids, Use::inputs, 0, 16);
    memory(h_.cache, Use::state, 1024, 8 * kRow);
    rows(Use::weights, 0, 4096);
    rows(Use::ring, 16, 12288);
    rows(Use::ring, 32, 20480);
    rows(Use::ring, 48, 12288);
    p_.stream = {{P::file0, P::ring0}, {P::file1, P::ring1}, {P::file2, P::ring2}};
    load();
    repeated("prompt", 4, 0);
    repeated("decode", 1, P::per_body);
    return p_;
  }

  /// True places of the weights.
  std::vector<Placement> weights() const {
    Placement table = p_.placements[HandPlaces::file_table], w = table;
    w.value = h_.w;
    w.offset = kW;
    w.bytes = Bytes{64 * kRow};
    return {table, w};
  }
  const HandGraph& graph() const { return h_; }

 private:
  static constexpr u64 kRow = 256, kTable = 96, kW = kTable + 16 * kRow;

  Placement& place(ValueId v, Use use, u64 offset, u64 bytes) {
    Placement p;
    p.value = v;
    p.use = use;
    p.offset = offset;
    p.bytes = Bytes{bytes};
    p_.placements.push_back(p);
    return p_.placements.back();
  }
  void memory(ValueId v, Use use, u64 offset, u64 bytes) { place(v, use, offset, bytes); }
  void file(ValueId v, i64 begin, i64 end, u64 offset, u64 row_count) {
    Placement& p = place(v, Use::weights, offset, row_count * kRow);
    p.row_begin = begin;
    p.row_end = end;
    p.tier = 1;
    p.owner = Owner::file;
    p.file = 0;
  }
  /// 16 rows of w from row `r`, in whole granules from `offset`.
  void rows(Use use, i64 r, u64 offset) {
    const u64 at = kW + static_cast<u64>(r) * kRow, end = at + 16 * kRow;
    Placement& p = place(h_.w, use, offset + at % 512, 16 * kRow);
    p.row_begin = r;
    p.row_end = r + 16;
    p.pad_before = static_cast<u32>(at % 512);
    p.pad_after = static_cast<u32>(round_up(end, 512) - end);
  }
  void local(ValueId v, Use use, u64 offset, u64 bytes, u32 birth, u32 death) {
    Placement& p = place(v, use, offset, bytes);
    p.body = static_cast<u32>(p_.bodies.size());
    p.birth = birth;
    p.death = death;
  }

  Step& step(Body& b, std::vector<Operand> reads, std::vector<Operand> writes, std::initializer_list<Edge> edges) {
    Step s;
    s.n_reads = static_cast<std::uint16_t>(reads.size());
    s.n_writes = static_cast<std::uint16_t>(writes.size());
    s.n_edges = static_cast<std::uint16_t>(edges.size());
    s.first_operand = static_cast<u32>(b.operands.size());
    s.first_edge = static_cast<u32>(b.edges.size());
    b.operands.insert(b.operands.end(), reads.begin(), reads.end());
    b.operands.insert(b.operands.end(), writes.begin(), writes.end());
    b.edges.insert(b.edges.end(), edges);
    b.steps.push_back(s);
    return b.steps.back();
  }
  static Operand all(ValueId v, u32 p) { return {v, p, 0, 0, -1}; }
  static Operand cut(ValueId v, u32 p, int axis, i64 r) { return {v, p, r, r + 16, static_cast<std::int8_t>(axis)}; }
  void bring(Body& b, u32 block, std::initializer_list<Edge> edges) {
    const StreamBlock& s = p_.stream[block];
    Step& m = step(b, {all(h_.w, s.from)}, {all(h_.w, s.to)}, edges);
    m.kind = StepKind::move;
    m.lane = Lane::io;
    m.block = block;
  }
  void compute(Body& b, NodeId node, u32 kernel, std::vector<Operand> reads, Operand write,
               std::initializer_list<Edge> edges) {
    Step& s = step(b, std::move(reads), {write}, edges);
    s.node = node;
    s.kernel = kernel;
  }

  void load() {
    Body b;
    b.name = "load";
    b.once = true;
    Step& m = step(b, {all(h_.w, HandPlaces::file_pinned)}, {all(h_.w, HandPlaces::pinned)}, {});
    m.kind = StepKind::move;
    m.lane = Lane::io;
    p_.bodies.push_back(b);
  }

  void repeated(const char* name, i64 n, u32 shift) {
    using P = HandPlaces;
    using S = HandSteps;
    const auto rows = static_cast<u64>(n);
    local(h_.x, Use::activations, 32768, rows * kRow, S::gather, S::add);
    local(h_.y, Use::activations, 34816, rows * kRow, S::linear_pinned, S::add);
    local(h_.z, Use::activations, 36864, rows * kRow, S::add, S::attention);
    local(h_.o, Use::activations, 34816, rows * kRow, S::attention, S::attention);  // over y
    local(kNone, Use::scratch, 40960, 65536, S::attention, S::attention);
    local(kNone, Use::staging, 40960, rows * 1024, S::gather, S::gather);
    const u32 x = P::x + shift, y = P::y + shift, z = P::z + shift, o = P::o + shift;
    const auto done = [](u32 s) { return Edge{Edge::done, s}; };
    const auto released = [](u32 block) { return Edge{Edge::released, block}; };
    Body b;
    b.name = name;
    b.symbols = {{1, n}, {0, 4}};
    b.typical = {n, 0};
    const auto linear = [&](u32 place, i64 r, std::initializer_list<Edge> edges) {
      compute(b, 1, 0, {all(h_.x, x), cut(h_.w, place, 0, r)}, cut(h_.y, y, 1, r), edges);
    };
    bring(b, 0, {released(2)});
    bring(b, 1, {released(1)});
    Step& g = step(b, {all(h_.table, P::file_table), all(h_.ids, P::ids)}, {all(h_.x, x)}, {});
    g.kind = StepKind::move;
    g.lane = Lane::io;
    g.gather = true;
    g.node = 0;
    g.scratch = P::staging + shift;
    linear(P::pinned, 0, {done(S::gather)});
    linear(P::ring0, 16, {done(S::bring0), done(S::gather)});
    linear(P::ring1, 32, {done(S::bring1), done(S::gather)});
    bring(b, 2, {done(S::linear0)});
    linear(P::ring2, 48, {done(S::bring2)});
    compute(b, 2, 1, {all(h_.y, y), all(h_.x, x)}, all(h_.z, z),
            {done(S::linear_pinned), done(S::linear1), done(S::linear2)});
    compute(b, 3, 2, {all(h_.cache, P::cache), all(h_.z, z)}, all(h_.cache1, P::cache), {done(S::add)});
    compute(b, 4, 3, {all(h_.z, z), all(h_.cache1, P::cache), all(h_.cache1, P::cache)}, all(h_.o, o),
            {done(S::append)});
    b.steps.back().scratch = P::scratch + shift;
    p_.bodies.push_back(b);
  }

  HandGraph h_;
  Plan p_;
};

}  // namespace terrace::testing
