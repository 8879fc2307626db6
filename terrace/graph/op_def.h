// One table row per operation: what it computes is defined by its reference kernel, everything else here.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/tensor.h"

namespace terrace {

inline constexpr int kMaxOperands = 10;  ///< inputs plus outputs of one node
inline constexpr int kMaxAxes = 4;

/// Constants of a node. What each slot means stands in the op's file.
struct Attrs {
  std::array<i64, 4> ints{};
  std::array<double, 4> floats{};
  std::array<SymbolId, 2> symbols{kNoSymbol, kNoSymbol};
  bool operator==(const Attrs&) const = default;
};

/// Classes in which reports sum up time and bytes.
enum class OpClass : std::uint8_t { contraction, attention, normalisation, elementwise, data_movement, optimizer };
std::string_view name_of(OpClass c);

/// An axis of the iteration space of an op. Along a parallel axis work may be cut anywhere (at multiples of `block`)
/// and every result keeps its bits; along a reduce axis it is cut in blocks of `block`, accumulated in canonical order.
struct Axis {
  std::string_view name;
  enum Kind : std::uint8_t { none, parallel, reduce } kind = none;
  i64 block = 1;
  /// The tensor axis it runs along, for each operand (inputs, then outputs); -1: the operand does not have it.
  std::array<std::int8_t, kMaxOperands> of = no_operand();
  static constexpr std::array<std::int8_t, kMaxOperands> no_operand() {
    std::array<std::int8_t, kMaxOperands> all{};
    for (std::int8_t& x : all) x = -1;
    return all;
  }
};

/// Arithmetic and traffic of one application: bytes each operand must give or take at least once.
struct Cost {
  double flops = 0;                         ///< a multiply-add counts as two
  std::array<Bytes, kMaxOperands> read{};   ///< per input
  std::array<Bytes, kMaxOperands> write{};  ///< per output
  Bytes total_read() const {
    Bytes b;
    for (Bytes x : read) b += x;
    return b;
  }
  Bytes total_write() const {
    Bytes b;
    for (Bytes x : write) b += x;
    return b;
  }
};

/// Operand specs of an application whose sizes are known: extents come from views' dims, symbols resolved.
struct OpInstance {
  std::span<const TensorView> in;  ///< data may be null
  std::span<const TensorView> out;
  const Attrs& attrs;
  std::span<const i64> symbols;  ///< actual values
};

class GradContext;  // ops/gradient.h

struct OpDef {
  std::string_view name;
  OpClass op_class;
  int n_inputs;
  int n_outputs;
  /// Output specs from input specs. Throws Error(usage) naming the op when they do not go together.
  std::vector<TensorSpec> (*infer)(std::span<const TensorSpec> in, const Attrs& attrs);
  Cost (*cost)(const OpInstance& op);
  /// Bytes of scratch that `workers` workers need together (a multiple of 64 each), at these sizes.
  Bytes (*scratch)(const OpInstance& op, int workers);
  std::array<Axis, kMaxAxes> axes{};
  /// Outputs 0 .. in_place-1 take over the bytes of the inputs of the same index, which are states.
  int in_place = 0;
  /// True if the op only picks rows of input 0 by the i32 ids of input 1: a planner may turn it into a Move.
  bool row_gather = false;
  /// Emits the nodes that carry gradients from the outputs to the inputs; null where there is no gradient.
  void (*grad)(GradContext& c) = nullptr;
  /// Bit i: where input i is used for the last time, output 0 of the same spec may take over its bytes. So a worker has
  /// read all that it needs of input i for an element (or a row) when it writes that, and nobody else reads there.
  u32 overlay = 0;
  /// Input 1 holds ids below the extent of input 0 along this axis (-1: the last), which is checked where it is bound.
  int ids_along = kNoIds;
  static constexpr int kNoIds = -2;
};

/// Bytes of a packed view.
Bytes packed_bytes(const TensorView& v);

/// Cost of an op that reads every input and writes every output once, with `flops_per_output` operations an output
/// element.
Cost streaming_cost(const OpInstance& op, double flops_per_output);
inline Bytes no_scratch(const OpInstance&, int) { return Bytes{}; }

}  // namespace terrace
