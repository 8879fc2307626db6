#include "terrace/engine/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "terrace/core/error.h"
#include "terrace/engine/bindings.h"

namespace terrace {
namespace {

const Kernel& reference_kernel(const Graph& graph, const KernelTable& kernels, const Node& node) {
  std::vector<Format> formats;
  for (ValueId v : node.inputs) formats.push_back({graph.value(v).spec.dtype, graph.value(v).spec.layout});
  for (ValueId v : node.outputs) formats.push_back({graph.value(v).spec.dtype, graph.value(v).spec.layout});
  const Kernel* k = kernels.find(node.op->name, formats, Isa::reference);
  if (k == nullptr)
    throw Error(ErrorKind::usage, "no reference kernel computes this node", graph.value(node.outputs[0]).name);
  return *k;
}

}  // namespace

Interpreter::Interpreter(const Graph& graph, const KernelTable& kernels,
                         const std::function<std::vector<std::byte>(ValueId)>& weights)
    : graph_(graph), kernels_(kernels), storage_(graph.values().size()) {
  for (ValueId v = 0; v < graph.values().size(); ++v) {
    const Value& value = graph.value(v);
    if (value.kind != ValueKind::weight) continue;
    storage_[v] = weights(v);
    if (storage_[v].size() != value.spec.bytes({}).count)
      throw Error(ErrorKind::usage,
                  fmt::format("{} bytes for a weight of {}", storage_[v].size(), value.spec.bytes({}).count),
                  value.name);
  }
  for (const Node& node : graph.nodes()) reference_kernel(graph, kernels, node);
  reset_state();
}

void Interpreter::reset_state() {
  for (ValueId v = 0; v < graph_.values().size(); ++v)
    if (graph_.value(v).kind == ValueKind::state)
      storage_[v].assign(graph_.value(v).spec.bytes({}).count, std::byte{0});
}

void Interpreter::run(const Bindings& bindings, std::span<const ValueId> goals) {
  check_symbols(graph_, bindings.symbols);
  check_ids(graph_, bindings);
  symbols_.assign(bindings.symbols.begin(), bindings.symbols.end());
  for (ValueId v = 0; v < graph_.values().size(); ++v) {
    if (graph_.value(v).kind != ValueKind::input) continue;
    const auto bytes = bound_input(graph_, bindings, v);
    storage_[v].assign(bytes.begin(), bytes.end());
  }
  const std::vector<char> needed = graph_.needed_nodes(goals);
  for (NodeId n = 0; n < graph_.nodes().size(); ++n) {
    if (!needed[n]) continue;
    const Node& node = graph_.node(n);
    TensorView in[kMaxOperands], out[kMaxOperands];
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      in[i] = make_view(graph_.value(node.inputs[i]).spec, storage_[graph_.root_of(node.inputs[i])].data(), symbols_);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const Value& value = graph_.value(node.outputs[i]);
      std::vector<std::byte>& bytes = storage_[graph_.root_of(node.outputs[i])];
      if (value.alias_of == kNone) bytes.assign(value.spec.bytes(symbols_).count, std::byte{0});
      out[i] = make_view(value.spec, bytes.data(), symbols_);
    }
    const OpInstance instance{{in, node.inputs.size()}, {out, node.outputs.size()}, node.attrs, symbols_};
    const Bytes scratch = node.op->scratch(instance, 1);
    scratch_.resize(std::max<std::size_t>(scratch_.size(), scratch.count + 64));
    KernelArgs args;
    args.in = in;
    args.out = out;
    args.ints = node.attrs.ints.data();
    args.floats = node.attrs.floats.data();
    for (std::size_t i = 0; i < node.attrs.symbols.size(); ++i)
      if (node.attrs.symbols[i] != kNoSymbol) args.sym[i] = symbols_[static_cast<std::size_t>(node.attrs.symbols[i])];
    args.scratch = scratch_.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch_.data()) % 64) % 64;
    args.scratch_bytes = scratch.count;
    reference_kernel(graph_, kernels_, node).fn(args);
  }
}

std::span<const std::byte> Interpreter::bytes(ValueId v) const {
  const auto& all = storage_[graph_.root_of(v)];
  return {all.data(), std::min<std::size_t>(all.size(), graph_.value(v).spec.bytes(symbols_).count)};
}

}  // namespace terrace
