// rope_angles, rope, append_rows, attention: what a cache of keys and values needs.
#include <algorithm>

#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

i64 position(const OpInstance& op, const Attrs& a) {
  return a.symbols[0] == kNoSymbol ? 0 : op.symbols[static_cast<std::size_t>(a.symbols[0])];
}

std::vector<TensorSpec> infer_rope_angles(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[0].shape.rank >= 2, "needs rows to count");
  require(a.ints[0] > 0 && a.ints[0] % 2 == 0, "ints[0] (rotated elements) must be even");
  require(a.floats[0] > 0, "floats[0] (base) must be positive");
  return {dense({in[0].shape[in[0].shape.rank - 2], Dim(a.ints[0])}, wide(in[0].dtype))};
}
Cost cost_rope_angles(const OpInstance& op) {
  Cost c = streaming_cost(op, 30);  // a sine or cosine in double: about 30 operations
  c.read[0] = Bytes{};
  return c;
}

std::vector<TensorSpec> infer_rope(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]) && is_dense(in[1], wide(in[0].dtype)) && in[0].shape.rank >= 2 && in[1].shape.rank == 2,
          "needs dense numbers and a matrix of angles");
  require(in[0].shape[in[0].shape.rank - 2] == in[1].shape[0], "needs one row of angles a position");
  const Dim width = in[0].shape.last(), d = in[1].shape[1];
  require(!width.is_symbol() && !d.is_symbol(), "needs constant widths");
  require(a.ints[0] > 0 && width.value % a.ints[0] == 0, "ints[0] (head size) must divide the width");
  require(d.value <= a.ints[0] && d.value % 2 == 0, "rotates at most a whole head, in pairs");
  return {in[0]};
}
void grad_rope(GradContext& c) {
  Attrs a = c.attrs();
  a.ints[1] = 1 - a.ints[1];
  if (c.wants(0)) c.give(0, c.call(rope, {c.of_out(), c.in(1)}, a));
}
Cost cost_rope(const OpInstance& op) { return streaming_cost(op, 3); }

std::vector<TensorSpec> infer_append_rows(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[0].shape.rank == 2 && in[1].shape.rank == 2, "needs matrices");
  require(is_dense(in[1]), "rows must be dense f32");
  require(in[0].shape[1] == in[1].shape[1], "cache and rows need one width");
  require(in[0].dtype != DType::i32 && (in[0].layout == Layout::dense || in[0].layout == Layout::q8_0),
          "the cache is f32, f16 or q8_0");
  require(a.symbols[0] != kNoSymbol, "symbols[0] (position) is missing");
  return {in[0]};
}
Cost cost_append_rows(const OpInstance& op) {
  Cost c;
  c.read[1] = packed_bytes(op.in[1]);
  c.write[0] = Bytes{row_bytes(op.in[0].dtype, op.in[0].layout, op.in[0].dim[1]) * static_cast<u64>(op.in[1].dim[0])};
  c.flops = static_cast<double>(op.in[1].dim[0]) * static_cast<double>(op.in[1].dim[1]);
  return c;
}

std::vector<TensorSpec> infer_attention(std::span<const TensorSpec> in, const Attrs& a) {
  for (const TensorSpec& s : in) require(s.shape.rank == 2, "needs matrices");
  require(is_dense(in[0]), "queries must be dense f32");
  const i64 h = a.ints[0], g = a.ints[1];
  require(h > 0 && g > 0 && h % g == 0, "ints = {heads, groups}: groups must divide heads");
  require(in[1] == in[2], "keys and values need one shape and format");
  require(in[1].dtype != DType::i32 && (in[1].layout == Layout::dense || in[1].layout == Layout::q8_0),
          "the cache is f32, f16 or q8_0");
  const Dim width = in[0].shape[1], kv = in[1].shape[1];
  require(!width.is_symbol() && !kv.is_symbol() && width.value % h == 0, "heads must divide the width");
  require(kv.value == width.value / h * g, "keys need groups * head size columns");
  require(a.symbols[0] != kNoSymbol, "symbols[0] (position) is missing");
  return {in[0]};
}
Cost cost_attention(const OpInstance& op) {
  const Attrs& a = op.attrs;
  const auto n = static_cast<double>(op.in[0].dim[0]);
  const auto pos = static_cast<double>(position(op, a));
  const auto head = static_cast<double>(op.in[0].dim[1]) / static_cast<double>(a.ints[0]);
  const u64 keys = static_cast<u64>(std::min(op.in[1].dim[0], position(op, a) + op.in[0].dim[0]));
  Cost c;
  c.read[0] = c.write[0] = packed_bytes(op.in[0]);
  c.read[1] = c.read[2] = Bytes{row_bytes(op.in[1].dtype, op.in[1].layout, op.in[1].dim[1]) * keys};
  const double pairs = n * pos + n * (n + 1) / 2;  // causal: row i has pos + i + 1 keys
  c.flops = 4.0 * pairs * head * static_cast<double>(a.ints[0]);
  return c;
}
/// A tile of keys or values in f32 and a tile of scores for each worker; see kernels/cpu.
Bytes scratch_attention(const OpInstance& op, int workers) {
  const u64 head = static_cast<u64>(op.in[0].dim[1] / op.attrs.ints[0]);
  const u64 tile = 64 * round_up(head, 16) * 4;
  return Bytes{round_up(2 * tile + (16 << 10), 64) * static_cast<u64>(workers)};
}

}  // namespace

const OpDef rope_angles{"rope_angles", OpClass::elementwise, 1, 1, infer_rope_angles, cost_rope_angles, no_scratch, {}};
const OpDef rope{"rope",     OpClass::elementwise,
                 2,          1,
                 infer_rope, cost_rope,
                 no_scratch, {parallel_axis("n", {0, 0, 0})},
                 0,          false,
                 grad_rope,  0b1};
const OpDef append_rows{
    "append_rows", OpClass::data_movement, 2, 1, infer_append_rows, cost_append_rows, no_scratch, {}, 1};
const OpDef attention{"attention", OpClass::attention, 3, 1, infer_attention, cost_attention, scratch_attention, {}};

}  // namespace terrace::ops
