#include "terrace/graph/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "terrace/core/error.h"

namespace terrace {

std::string_view name_of(ValueKind k) {
  switch (k) {
    case ValueKind::input: return "input";
    case ValueKind::weight: return "weight";
    case ValueKind::state: return "state";
    case ValueKind::computed: return "computed";
  }
  return "?";
}

std::vector<i64> Graph::symbol_bounds() const {
  std::vector<i64> b;
  for (const Symbol& s : symbols_) b.push_back(s.max);
  return b;
}

std::optional<SymbolId> Graph::find_symbol(std::string_view name) const {
  for (std::size_t i = 0; i < symbols_.size(); ++i)
    if (symbols_[i].name == name) return static_cast<SymbolId>(i);
  return std::nullopt;
}

std::optional<ValueId> Graph::find_value(std::string_view name) const {
  for (std::size_t i = 0; i < values_.size(); ++i)
    if (values_[i].name == name) return static_cast<ValueId>(i);
  return std::nullopt;
}

ValueId Graph::root_of(ValueId v) const {
  while (values_[v].alias_of != kNone) v = values_[v].alias_of;
  return v;
}

std::vector<char> Graph::needed_nodes(std::span<const ValueId> goals) const {
  std::vector<char> node(nodes_.size(), goals.empty()), value(values_.size(), 0);
  for (ValueId v : goals) value[v] = 1;
  for (NodeId n = static_cast<NodeId>(nodes_.size()); n-- > 0;) {
    for (ValueId v : nodes_[n].outputs) node[n] |= value[v];
    if (node[n])
      for (ValueId v : nodes_[n].inputs) value[v] = 1;
  }
  return node;
}

std::vector<std::vector<NodeId>> Graph::readers() const {
  std::vector<std::vector<NodeId>> r(values_.size());
  for (NodeId n = 0; n < nodes_.size(); ++n)
    for (ValueId v : nodes_[n].inputs) r[v].push_back(n);
  return r;
}

u64 Graph::memory_bytes() const {
  constexpr u64 kHeap = 16, kLeast = 32;  // what the allocator adds to a piece, and its smallest piece
  const auto piece = [=](u64 bytes) { return bytes == 0 ? 0 : std::max(kLeast, round_up(bytes + kHeap / 2, kHeap)); };
  u64 sum = values_.capacity() * sizeof(Value) + nodes_.capacity() * sizeof(Node);
  for (const Value& v : values_) sum += v.name.capacity() < kHeap ? 0 : piece(v.name.capacity() + 1);
  for (const Node& n : nodes_)
    sum += piece(n.inputs.capacity() * sizeof(ValueId)) + piece(n.outputs.capacity() * sizeof(ValueId));
  return sum;
}

u64 Graph::fingerprint() const {
  u64 h = 14695981039346656037u;  // FNV-1a, 64 bit
  auto mix = [&h](u64 x) {
    for (int i = 0; i < 8; ++i, x >>= 8) h = (h ^ (x & 0xff)) * 1099511628211u;
  };
  auto mix_spec = [&](const TensorSpec& s) {
    mix(static_cast<u64>(s.dtype) << 8 | static_cast<u64>(s.layout));
    mix(static_cast<u64>(s.shape.rank));
    for (int a = 0; a < s.shape.rank; ++a) {
      mix(static_cast<u64>(s.shape[a].value));
      mix(static_cast<u64>(s.shape[a].symbol));
    }
  };
  for (const Symbol& s : symbols_) mix(static_cast<u64>(s.max));
  for (const Value& v : values_) {
    mix(static_cast<u64>(v.kind));
    mix(v.alias_of);
    mix_spec(v.spec);
  }
  for (const Node& n : nodes_) {
    for (char c : n.op->name) mix(static_cast<u64>(c));
    for (ValueId v : n.inputs) mix(v);
    for (ValueId v : n.outputs) mix(v);
    for (i64 x : n.attrs.ints) mix(static_cast<u64>(x));
    for (double x : n.attrs.floats) mix(std::bit_cast<u64>(x));
    for (SymbolId s : n.attrs.symbols) mix(static_cast<u64>(s));
  }
  for (ValueId v : outputs_) mix(v);
  return h;
}

namespace {
std::string describe(const Graph& g, const OpDef& op, const std::vector<ValueId>& inputs) {
  std::string s(op.name);
  s += '(';
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (i) s += ", ";
    if (inputs[i] < g.values().size()) s += g.value(inputs[i]).name + ": " + to_string(g.value(inputs[i]).spec);
  }
  return s + ")";
}

void check_spec(const TensorSpec& s, const std::string& name, std::size_t symbols) {
  const Shape& sh = s.shape;
  if (sh.rank < 1 || sh.rank > kMaxRank)
    throw Error(ErrorKind::usage, fmt::format("rank {} is not in 1..{}", sh.rank, kMaxRank), name);
  for (int a = 0; a < sh.rank; ++a) {
    if (sh[a].is_symbol() ? sh[a].symbol < 0 || static_cast<std::size_t>(sh[a].symbol) >= symbols : sh[a].value <= 0)
      throw Error(ErrorKind::usage, fmt::format("extent {} is not positive or names no symbol", a), name);
  }
  if (s.layout != Layout::dense && (sh.last().is_symbol() || sh.last().value % kBlock != 0))
    throw Error(ErrorKind::usage, fmt::format("{} needs rows of a multiple of {} elements", name_of(s.layout), kBlock),
                name);
}
}  // namespace

GraphBuilder::GraphBuilder(Graph graph) : graph_(std::move(graph)), replaced_by_(graph_.values_.size(), kNone) {
  for (ValueId v = 0; v < graph_.values_.size(); ++v)
    if (graph_.values_[v].alias_of != kNone) replaced_by_[graph_.values_[v].alias_of] = v;
}

SymbolId GraphBuilder::symbol(std::string name, i64 max) {
  if (max < 1) throw Error(ErrorKind::usage, "a symbol needs an upper bound of at least 1", name);
  graph_.symbols_.push_back({std::move(name), max});
  return static_cast<SymbolId>(graph_.symbols_.size() - 1);
}

ValueId GraphBuilder::add(Value v) {
  check_spec(v.spec, v.name, graph_.symbols_.size());
  graph_.values_.push_back(std::move(v));
  replaced_by_.push_back(kNone);
  return static_cast<ValueId>(graph_.values_.size() - 1);
}

ValueId GraphBuilder::input(std::string name, TensorSpec spec) {
  return add({std::move(name), ValueKind::input, spec, kNone, kNone});
}

ValueId GraphBuilder::weight(std::string name, TensorSpec spec) {
  for (int a = 0; a < spec.shape.rank; ++a)
    if (spec.shape[a].is_symbol()) throw Error(ErrorKind::usage, "a weight's extents are constants", name);
  return add({std::move(name), ValueKind::weight, spec, kNone, kNone});
}

ValueId GraphBuilder::state(std::string name, TensorSpec spec) {
  for (int a = 0; a < spec.shape.rank; ++a)
    if (spec.shape[a].is_symbol()) throw Error(ErrorKind::usage, "a state's extents are constants", name);
  return add({std::move(name), ValueKind::state, spec, kNone, kNone});
}

std::vector<ValueId> GraphBuilder::apply(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs, std::string name) {
  const std::string where = describe(graph_, op, inputs);
  if (static_cast<int>(inputs.size()) != op.n_inputs)
    throw Error(ErrorKind::usage, fmt::format("takes {} inputs, got {}", op.n_inputs, inputs.size()), where);
  std::vector<TensorSpec> specs;
  for (ValueId v : inputs) {
    if (v >= graph_.values_.size()) throw Error(ErrorKind::usage, "an input does not exist", where);
    specs.push_back(graph_.values_[v].spec);
  }
  for (SymbolId s : attrs.symbols)
    if (s != kNoSymbol && (s < 0 || static_cast<std::size_t>(s) >= graph_.symbols_.size()))
      throw Error(ErrorKind::usage, "an attribute names no symbol", where);
  std::vector<TensorSpec> out;
  try {
    out = op.infer(specs, attrs);
  } catch (const Error& e) { throw Error(e.kind(), e.message(), where, e.hint()); }
  for (std::size_t i = 0; i < static_cast<std::size_t>(op.in_place); ++i) {
    if (graph_.values_[graph_.root_of(inputs[i])].kind != ValueKind::state)
      throw Error(ErrorKind::usage, "works in place, so it takes a state", where);
    if (replaced_by_[inputs[i]] != kNone)
      throw Error(ErrorKind::usage,
                  "the state has a newer version already: " + graph_.values_[replaced_by_[inputs[i]]].name, where);
    if (std::count(inputs.begin(), inputs.begin() + op.in_place, inputs[i]) > 1)
      throw Error(ErrorKind::usage, "changes one state twice", where);
  }
  const auto node = static_cast<NodeId>(graph_.nodes_.size());
  std::vector<ValueId> ids;
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::string n = name.empty() ? fmt::format("{}.{}", op.name, node) : i == 0 ? name : fmt::format("{}.{}", name, i);
    const ValueId taken = i < static_cast<std::size_t>(op.in_place) ? inputs[i] : kNone;
    ids.push_back(add({std::move(n), ValueKind::computed, out[i], node, taken}));
    if (taken != kNone) replaced_by_[taken] = ids.back();
  }
  graph_.nodes_.push_back({&op, std::move(inputs), ids, attrs});
  return ids;
}

ValueId GraphBuilder::call(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs, std::string name) {
  return apply(op, std::move(inputs), attrs, std::move(name)).front();
}

void GraphBuilder::output(ValueId v) {
  if (v >= graph_.values_.size()) throw Error(ErrorKind::usage, "an output does not exist");
  graph_.outputs_.push_back(v);
}

Graph GraphBuilder::finish() {
  // A version of a state that a later in-place node overwrites must not be read after it, nor leave the graph.
  const std::vector<Value>& values = graph_.values_;
  const std::vector<ValueId>& replaced = replaced_by_;
  for (NodeId n = 0; n < graph_.nodes_.size(); ++n)
    for (ValueId v : graph_.nodes_[n].inputs)
      if (replaced[v] != kNone && values[replaced[v]].producer < n)
        throw Error(ErrorKind::usage, "reads a state that " + values[replaced[v]].name + " has replaced",
                    values[v].name);
  for (ValueId v : graph_.outputs_)
    if (replaced[v] != kNone)
      throw Error(ErrorKind::usage, "an output is a state that " + values[replaced[v]].name + " replaces",
                  values[v].name);
  graph_.values_.shrink_to_fit();
  graph_.nodes_.shrink_to_fit();
  return std::move(graph_);
}

std::string to_text(const Graph& g) {
  std::vector<std::string> names;
  std::string s;
  for (const Symbol& y : g.symbols()) {
    names.push_back(y.name);
    s += fmt::format("symbol {} <= {}\n", y.name, y.max);
  }
  for (ValueId v = 0; v < g.values().size(); ++v) {
    const Value& x = g.value(v);
    if (x.kind != ValueKind::computed)
      s += fmt::format("{:<8} %{} {} : {}\n", name_of(x.kind), v, x.name, to_string(x.spec, names));
  }
  for (const Node& n : g.nodes()) {
    std::string line;
    for (ValueId v : n.outputs) {
      const Value& x = g.value(v);
      line += fmt::format("{}%{}", line.empty() ? "" : ", ", v);
      if (x.alias_of != kNone) line += fmt::format(" (in %{})", g.root_of(v));
    }
    line += fmt::format(" = {}(", n.op->name);
    for (std::size_t i = 0; i < n.inputs.size(); ++i) line += fmt::format("{}%{}", i ? ", " : "", n.inputs[i]);
    line += ")";
    for (SymbolId y : n.attrs.symbols)
      if (y != kNoSymbol) line += " @" + names[static_cast<std::size_t>(y)];
    line += fmt::format(" : {}  # {}", to_string(g.value(n.outputs[0]).spec, names), g.value(n.outputs[0]).name);
    s += line + "\n";
  }
  for (ValueId v : g.outputs()) s += fmt::format("output   %{} {}\n", v, g.value(v).name);
  return s;
}

}  // namespace terrace
