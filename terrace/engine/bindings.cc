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

void check_ids(const Graph& graph, const Bindings& bindings) {
  for (const Node& node : graph.nodes()) {
    if (!node.op->row_gather) continue;
    const Value& ids = graph.value(node.inputs[1]);
    if (ids.kind != ValueKind::input) continue;
    const i64 rows = graph.value(node.inputs[0]).spec.shape[0].at(bindings.symbols);
    const auto bytes = bound_input(graph, bindings, node.inputs[1]);
    for (std::size_t i = 0; i + sizeof(i32) <= bytes.size(); i += sizeof(i32)) {
      i32 id;
      std::memcpy(&id, bytes.data() + i, sizeof id);
      if (id < 0 || id >= rows)
        throw Error(ErrorKind::usage, fmt::format("id {} is not a row of 0..{}", id, rows - 1), ids.name);
    }
  }
}

}  // namespace terrace
