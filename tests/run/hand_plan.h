// Plans made by hand, without the planner: every choice is visible, and engines are tested with nothing else between.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "support/random_graph.h"
#include "terrace/engine/engine.h"
#include "terrace/kernels/kernel.h"
#include "terrace/plan/plan.h"

namespace terrace::testing {

/// A file that goes when its owner goes.
class TemporaryFile {
 public:
  TemporaryFile(const std::vector<std::byte>& bytes, const std::string& folder, const std::string& name)
      : path_(folder + "/" + name + "." + std::to_string(getpid())) {
    std::ofstream f(path_, std::ios::binary);
    f.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(f.good()) << path_;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct HandOptions {
  int streamed_percent = 0;  ///< of the matrices that `linear` reads
  int ring_slots = 3;
  i64 rows_a_block = 16;
  bool gather = false;  ///< tables of row gathers stay in the file
  int workers = 1;
  u64 permute = 0;  ///< another legal order of the compute steps (nothing may be streamed)
};

inline constexpr TierId kDram = 0, kDisk = 1;

/// Memory is never shared between values: nothing but the ring is reused.
class HandPlanner {
 public:
  HandPlanner(const Graph& g, const WeightFile& file, const std::string& path, const KernelTable& kernels,
              HandOptions o)
      : g_(g), file_(file), kernels_(kernels), o_(o), streamed_(g.values().size(), 0), home_(g.values().size(), kNone) {
    plan_.machine = "hand";
    plan_.graph_fingerprint = g.fingerprint();
    plan_.tiers = {"dram", "disk"};
    plan_.files = {{path, Bytes{file.bytes.size()}}};
    plan_.workers = o.workers;
    plan_.io_depth = 4;
    plan_.granule = 512;
  }

  Plan make() {
    choose();
    place_weights();
    place_ring();
    for (ValueId v = 0; v < g_.values().size(); ++v) {
      if (g_.value(v).kind == ValueKind::input) home_[v] = place(v, Use::inputs);
      if (g_.value(v).kind == ValueKind::state) home_[v] = place(v, Use::state);
    }
    const u64 shared = end_;
    const i64 n = g_.symbols()[0].max, pos = g_.symbols()[1].max;
    add_body("prompt", {{0, n}, {0, pos}}, {n, 0});
    const u64 prompt_end = std::exchange(end_, shared);
    add_body("decode", {{1, 1}, {0, pos}}, {1, pos / 2});
    plan_.arenas = {{kDram, Bytes{round_up(std::max(end_, prompt_end), 4096)}}};
    return plan_;
  }

 private:
  struct Part {
    i64 begin, end;
    u32 block;
  };

  u64 row(ValueId v) const {
    return g_.value(v).spec.bytes({}).count / static_cast<u64>(g_.value(v).spec.shape[0].value);
  }
  u32 add(Placement p) {
    plan_.placements.push_back(p);
    return static_cast<u32>(plan_.placements.size() - 1);
  }
  u32 place(ValueId v, Use use, u32 body = kNone) {
    Placement p;
    p.value = v;
    p.use = use;
    p.offset = end_ = round_up(end_, 64);
    p.bytes = g_.value(v).spec.bytes(g_.symbol_bounds());
    p.body = body;
    end_ += p.bytes.count;
    return add(p);
  }
  /// Room for what lies at `file_offset`, with whole granules around.
  Placement padded(ValueId v, u64 at, u64 file_offset, u64 bytes, Use use) const {
    Placement p;
    p.value = v;
    p.use = use;
    p.pad_before = static_cast<u32>(file_offset % plan_.granule);
    p.offset = at + p.pad_before;
    p.bytes = Bytes{bytes};
    p.pad_after = static_cast<u32>(round_up(p.offset + bytes, plan_.granule) - p.offset - bytes);
    return p;
  }

  void choose() {
    Random r(g_.fingerprint());
    for (const Node& n : g_.nodes())
      if (n.op->name == "linear" && r.chance(o_.streamed_percent)) streamed_[n.inputs[1]] = 1;
    for (const Placement& w : file_.weights) {
      Placement p = w;
      p.tier = kDisk;
      in_file_.resize(g_.values().size(), kNone);
      in_file_[w.value] = add(p);
    }
  }
  bool gathered_only(ValueId v) const {
    bool only = o_.gather;
    for (const Node& n : g_.nodes())
      for (ValueId i : n.inputs)
        if (i == v && !n.op->row_gather) only = false;
    return only;
  }
  bool pinned_for_gather(ValueId v) const {
    if (o_.gather) return false;
    return std::any_of(g_.nodes().begin(), g_.nodes().end(),
                       [&](const Node& n) { return n.op->row_gather && n.inputs[0] == v; });
  }
  void place_weights() {
    Body load;
    load.name = "load";
    load.once = true;
    load.typical = {0, 0};
    load.symbols = {{0, g_.symbols()[0].max}, {0, g_.symbols()[1].max}};
    for (const Placement& w : file_.weights) {
      if (gathered_only(w.value) || (streamed_[w.value] && !pinned_for_gather(w.value))) continue;
      const Placement p = padded(w.value, end_ = round_up(end_, 512), w.offset, w.bytes.count, Use::weights);
      end_ = p.offset + p.bytes.count + p.pad_after;
      home_[w.value] = add(p);
      Step s = move_step();
      s.payload = w.bytes;
      emit(load, s, {{w.value, in_file_[w.value], 0, 0, -1}}, {{w.value, home_[w.value], 0, 0, -1}}, {});
    }
    plan_.bodies.push_back(load);
  }
  static Step move_step() {
    Step s;
    s.kind = StepKind::move;
    s.lane = Lane::io;
    return s;
  }
  u32 emit(Body& b, Step s, const std::vector<Operand>& reads, const std::vector<Operand>& writes,
           const std::vector<Edge>& edges) {
    s.first_operand = static_cast<u32>(b.operands.size());
    s.n_reads = static_cast<std::uint16_t>(reads.size());
    s.n_writes = static_cast<std::uint16_t>(writes.size());
    b.operands.insert(b.operands.end(), reads.begin(), reads.end());
    b.operands.insert(b.operands.end(), writes.begin(), writes.end());
    s.first_edge = static_cast<u32>(b.edges.size());
    s.n_edges = static_cast<std::uint16_t>(edges.size());
    b.edges.insert(b.edges.end(), edges.begin(), edges.end());
    b.steps.push_back(s);
    return static_cast<u32>(b.steps.size() - 1);
  }

  void place_ring() {
    std::vector<Placement> blocks;
    parts_.resize(g_.nodes().size());
    for (NodeId n = 0; n < g_.nodes().size(); ++n) {
      const ValueId w = g_.node(n).op->name == "linear" ? g_.node(n).inputs[1] : kNone;
      if (w == kNone || !streamed_[w]) continue;
      const i64 rows = g_.value(w).spec.shape[0].value;
      for (i64 a = 0; a < rows; a += o_.rows_a_block) {
        Placement f = plan_.placements[in_file_[w]];
        f.row_begin = a;
        f.row_end = std::min(rows, a + o_.rows_a_block);
        f.offset += static_cast<u64>(a) * row(w);
        f.bytes = Bytes{static_cast<u64>(f.row_end - a) * row(w)};
        parts_[n].push_back({a, f.row_end, static_cast<u32>(blocks.size())});
        blocks.push_back(f);
      }
    }
    u64 slot = 0;
    for (const Placement& f : blocks) slot = std::max(slot, round_up(f.bytes.count, 512) + 1024);
    const u64 ring = end_ = round_up(end_, 512);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const Placement& f = blocks[b];
      Placement p = padded(f.value, ring + b % static_cast<std::size_t>(o_.ring_slots) * slot, f.offset, f.bytes.count,
                           Use::ring);
      p.row_begin = f.row_begin;
      p.row_end = f.row_end;
      const u32 from = add(f);
      plan_.stream.push_back({from, add(p)});
    }
    if (!blocks.empty()) end_ = ring + slot * static_cast<u64>(o_.ring_slots);
  }

  std::vector<NodeId> order() const {
    std::vector<NodeId> order(g_.nodes().size());
    std::iota(order.begin(), order.end(), 0u);
    if (o_.permute == 0) return order;
    Random r(o_.permute);
    std::vector<NodeId> out;
    std::vector<char> done(order.size(), 0);
    while (out.size() < order.size()) {
      std::vector<NodeId> ready;
      for (NodeId n : order)
        if (!done[n] && std::all_of(g_.node(n).inputs.begin(), g_.node(n).inputs.end(), [&](ValueId v) {
              return g_.value(v).producer == kNone || done[g_.value(v).producer];
            }))
          ready.push_back(n);
      const NodeId n = ready[static_cast<std::size_t>(r.below(static_cast<i64>(ready.size())))];
      done[n] = 1;
      out.push_back(n);
    }
    return out;
  }

  void add_body(const std::string& name, std::vector<Interval> symbols, std::vector<i64> typical) {
    Body b;
    b.name = name;
    b.symbols = std::move(symbols);
    b.typical = std::move(typical);
    const u32 index = static_cast<u32>(plan_.bodies.size());
    std::vector<std::vector<Edge>> made(g_.values().size());
    std::vector<u32> reader(plan_.stream.size());
    for (NodeId n : order()) add_node(b, index, n, made, reader);
    plan_.bodies.push_back(b);
  }

  void add_node(Body& b, u32 index, NodeId n, std::vector<std::vector<Edge>>& made, std::vector<u32>& reader) {
    const Node& node = g_.node(n);
    std::vector<Operand> reads, writes;
    std::vector<Edge> edges;
    const bool gathers = node.op->row_gather && o_.gather;
    for (ValueId v : node.inputs) {
      reads.push_back({v, gathers && reads.empty() ? in_file_[v] : home_[g_.root_of(v)], 0, 0, -1});
      edges.insert(edges.end(), made[v].begin(), made[v].end());
    }
    for (ValueId v : node.outputs) {
      const ValueId root = g_.root_of(v);
      if (root == v) home_[v] = place(v, Use::activations, index);
      writes.push_back({v, home_[root], 0, 0, -1});
    }
    Step s;
    s.node = n;
    if (gathers) {
      s = move_step();
      s.node = n;
      s.gather = true;
      Placement p;
      p.use = Use::staging;
      p.offset = end_ = round_up(end_, 512);
      p.bytes = Bytes{(round_up(row(node.inputs[0]), 512) + 512) * static_cast<u64>(g_.symbols()[0].max)};
      p.body = index;
      end_ += p.bytes.count;
      s.scratch = add(p);
    } else {
      s.workers = static_cast<std::uint16_t>(n % 3 == 2 ? 1 : o_.workers);
      s.kernel = kernel(node);
      scratch(node, index, s);
    }
    if (parts_[n].empty()) {
      made[node.outputs[0]] = {{Edge::done, emit(b, s, reads, writes, edges)}};
      return;
    }
    for (const Part& part : parts_[n]) {
      std::vector<Edge> with = edges;
      with.push_back({Edge::done, bring(b, part.block, reader)});
      reads[1] = {node.inputs[1], plan_.stream[part.block].to, part.begin, part.end, 0};
      writes[0].axis = 1;
      writes[0].begin = part.begin;
      writes[0].end = part.end;
      reader[part.block] = emit(b, s, reads, writes, with);
      made[node.outputs[0]].push_back({Edge::done, reader[part.block]});
    }
  }

  u32 bring(Body& b, u32 block, const std::vector<u32>& reader) {
    const StreamBlock& sb = plan_.stream[block];
    const ValueId v = plan_.placements[sb.to].value;
    const i64 begin = plan_.placements[sb.to].row_begin, end = plan_.placements[sb.to].row_end;
    Step s = move_step();
    s.block = block;
    s.payload = plan_.placements[sb.to].bytes;
    const auto slots = static_cast<u32>(o_.ring_slots);
    Edge free{Edge::done, 0};
    if (block >= slots) {
      free.of = reader[block - slots];
    } else {
      free.kind = Edge::released;
      free.of = block;
      while (free.of + slots < plan_.stream.size()) free.of += slots;
    }
    return emit(b, s, {{v, sb.from, begin, end, 0}}, {{v, sb.to, begin, end, 0}}, {free});
  }

  u32 kernel(const Node& node) {
    std::vector<Format> formats;
    for (ValueId v : node.inputs) formats.push_back({g_.value(v).spec.dtype, g_.value(v).spec.layout});
    for (ValueId v : node.outputs) formats.push_back({g_.value(v).spec.dtype, g_.value(v).spec.layout});
    const Kernel* k = kernels_.find(node.op->name, formats, best_isa());
    if (k == nullptr) k = kernels_.find(node.op->name, formats, Isa::reference);
    EXPECT_NE(k, nullptr) << node.op->name;
    const auto it = std::find(plan_.kernels.begin(), plan_.kernels.end(), k->name);
    if (it != plan_.kernels.end()) return static_cast<u32>(it - plan_.kernels.begin());
    plan_.kernels.push_back(k->name);
    return static_cast<u32>(plan_.kernels.size() - 1);
  }
  void scratch(const Node& node, u32 index, Step& s) {
    TensorView in[kMaxOperands], out[kMaxOperands];
    const auto bounds = g_.symbol_bounds();
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      in[i] = make_view(g_.value(node.inputs[i]).spec, nullptr, bounds);
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      out[i] = make_view(g_.value(node.outputs[i]).spec, nullptr, bounds);
    Placement p;
    p.use = Use::scratch;
    p.bytes = node.op->scratch({{in, node.inputs.size()}, {out, node.outputs.size()}, node.attrs, bounds}, o_.workers);
    if (p.bytes.count == 0) return;
    p.offset = end_ = round_up(end_, 64);
    p.body = index;
    end_ += p.bytes.count;
    s.scratch = add(p);
  }

  const Graph& g_;
  const WeightFile& file_;
  const KernelTable& kernels_;
  const HandOptions o_;
  Plan plan_;
  u64 end_ = 0;
  std::vector<char> streamed_;
  std::vector<u32> home_, in_file_;
  std::vector<std::vector<Part>> parts_;
};

/// A binding for every input of the graph at these symbols; kept alive by the object.
struct Inputs {
  Inputs(const Graph& g, std::vector<i64> s, u64 seed) : symbols(std::move(s)) {
    for (ValueId v = 0; v < g.values().size(); ++v) {
      if (g.value(v).kind != ValueKind::input) continue;
      std::vector<std::byte> b(g.value(v).spec.bytes(symbols).count);
      Random r(seed + v);
      const i64 rows = g.find_value("table") ? g.value(*g.find_value("table")).spec.shape[0].value : 1;
      for (std::size_t i = 0; i + 4 <= b.size(); i += 4) {
        const float f = r.real();
        const auto id = static_cast<i32>(r.below(rows));
        std::memcpy(b.data() + i, g.value(v).spec.dtype == DType::i32 ? static_cast<const void*>(&id) : &f, 4);
      }
      ids.push_back(v);
      bytes.push_back(std::move(b));
    }
    for (std::size_t i = 0; i < ids.size(); ++i) bound.push_back({ids[i], bytes[i]});
  }
  std::vector<i64> symbols;
  std::vector<ValueId> ids;
  std::vector<std::vector<std::byte>> bytes;
  std::vector<InputBinding> bound;
  Bindings bindings() const { return {symbols, bound}; }
};

}  // namespace terrace::testing
