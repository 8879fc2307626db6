#include "terrace/engine/bindings.h"

#include <fmt/format.h>

#include <cstring>

#include "terrace/core/error.h"

namespace terrace {

void check_symbols(const Graph& graph, std::span<const i64> symbols) {
  if (symbols.size() != graph.symbols().size())
    throw Error(ErrorKind::usage,
                fmt::format("{} symbols are bound, the graph has {}", symbols.size(), graph.symbols().size()));
  for (std::size_t i = 0; i < symbols.size(); ++i)
    if (symbols[i] < 0 || symbols[i] > graph.symbols()[i].max)
      throw Error(ErrorKind::usage, fmt::format("{} is not in 0..{}", symbols[i], graph.symbols()[i].max),
                  graph.symbols()[i].name);
}

std::span<const std::byte> bound_input(const Graph& graph, const Bindings& bindings, ValueId input) {
  const Value& value = graph.value(input);
  const u64 bytes = value.spec.bytes(bindings.symbols).count;
  for (const InputBinding& b : bindings.inputs) {
    if (b.value != input) continue;
    if (b.bytes.size() != bytes)
      throw Error(ErrorKind::usage, fmt::format("{} bytes are bound to an input of {}", b.bytes.size(), bytes),
                  value.name);
    return b.bytes;
  }
  throw Error(ErrorKind::usage, "an input is not bound", value.name);
}

namespace {
/// The value of which `v` is a part.
ValueId whole_of(const Graph& graph, ValueId v) {
  while (graph.value(v).kind == ValueKind::computed && graph.node(graph.value(v).producer).op->name == "slice")
    v = graph.node(graph.value(v).producer).inputs[0];
  return v;
}
}  // namespace

void check_ids(const Graph& graph, const Bindings& bindings) {
  for (const Node& node : graph.nodes()) {
    if (node.op->ids_along == OpDef::kNoIds) continue;
    const ValueId whole = whole_of(graph, node.inputs[1]);
    const Value& ids = graph.value(whole);
    if (ids.kind != ValueKind::input) continue;
    const Shape& table = graph.value(node.inputs[0]).spec.shape;
    const i64 rows =
        table[node.op->ids_along < 0 ? table.rank + node.op->ids_along : node.op->ids_along].at(bindings.symbols);
    const auto bytes = bound_input(graph, bindings, whole);
    for (std::size_t i = 0; i + sizeof(i32) <= bytes.size(); i += sizeof(i32)) {
      i32 id;
      std::memcpy(&id, bytes.data() + i, sizeof id);
      if (id < 0 || id >= rows)
        throw Error(ErrorKind::usage, fmt::format("id {} is not in 0..{}", id, rows - 1), ids.name);
    }
  }
}

}  // namespace terrace
