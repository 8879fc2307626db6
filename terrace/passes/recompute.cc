#include "terrace/passes/recompute.h"

#include <algorithm>
#include <array>

#include "terrace/ops/fused.h"
#include "terrace/ops/ops.h"

namespace terrace::passes {
namespace {

/// Nodes between two readers that are a forward and a backward pass apart: more than a block's next layers have.
constexpr NodeId kFar = 24;

constexpr std::array<const OpDef*, 8> kCheap = {&ops::relu,       &ops::gelu,           &ops::silu,
                                                &ops::silu_mul,   &ops::rms_norm,       &ops::layer_norm,
                                                &ops::dequantize, &ops::bias_activation};

/// What gives value `v` once more; false if it is not cheap.
bool copy_of(const Graph& g, ValueId v, Repeat& r) {
  const Node& n = g.node(g.value(v).producer);
  r.of = v;
  r.attrs = n.attrs;
  r.inputs = n.inputs;
  r.op = n.op;
  if (std::find(kCheap.begin(), kCheap.end(), n.op) != kCheap.end()) return true;
  const bool centred = n.op == &ops::add_layer_norm;
  if ((!centred && n.op != &ops::add_rms_norm) || v != n.outputs[1]) return false;
  r.op = centred ? &ops::layer_norm : &ops::rms_norm;
  r.inputs.erase(r.inputs.begin());
  r.inputs[0] = n.outputs[0];  // the sum
  return true;
}

/// Whether it is there at node `n` whatever happens here.
bool waits(const Uses& u, ValueId v, NodeId n) {
  const Value& value = u.graph().value(v);
  if (value.kind != ValueKind::computed || value.alias_of != kNone) return u.readable_at(v, n);
  return u.kept(v) || std::any_of(u.readers(v).begin(), u.readers(v).end(), [&](NodeId r) { return r >= n; });
}

}  // namespace

std::vector<Repeat> find_recomputed(const Uses& u) {
  const Graph& graph = u.graph();
  std::vector<Repeat> found;
  for (ValueId v = 0; v < graph.values().size(); ++v) {
    const Value& value = graph.value(v);
    Repeat r;
    if (value.kind != ValueKind::computed || value.alias_of != kNone || u.kept(v) || !copy_of(graph, v, r)) continue;
    NodeId last = value.producer;
    for (NodeId reader : u.readers(v)) {
      if (reader > last + kFar) {
        r.before = reader;
        break;
      }
      last = reader;
    }
    if (r.before == kNone || last == value.producer) continue;  // or nobody needs it before
    if (std::all_of(r.inputs.begin(), r.inputs.end(), [&](ValueId in) { return waits(u, in, r.before); }))
      found.push_back(std::move(r));
  }
  return found;
}

}  // namespace terrace::passes
