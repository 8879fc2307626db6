// flash_attention and its gradient: softmax(q k^T) v whose scores never exist whole.
#include <algorithm>

#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

void require_qkv(std::span<const TensorSpec> in, const Attrs& a) {
  for (int i = 0; i < 3; ++i)
    require(is_real(in[static_cast<std::size_t>(i)]) && in[static_cast<std::size_t>(i)].shape.rank == 3 &&
                in[static_cast<std::size_t>(i)].dtype == in[0].dtype,
            "needs q, k, v of rank 3 and one type");
  const i64 h = a.ints[0], g = a.ints[1];
  require(h > 0 && g > 0 && h % g == 0, "ints = {heads, groups, causal}: groups must divide heads");
  require(in[1] == in[2] && in[0].shape[0] == in[1].shape[0], "needs k and v of one shape, and one batch");
  const Dim width = in[0].shape[2], kv = in[1].shape[2];
  require(!width.is_symbol() && !kv.is_symbol() && width.value % h == 0 && kv.value == width.value / h * g,
          "needs heads of one size: q has heads * size columns, k and v groups * size");
  require(width.value / h <= 256, "heads have at most 256 columns");
  require(a.floats[0] > 0, "floats[0] (scale) must be positive");
}
TensorSpec lse_of(const TensorSpec& q, const Attrs& a) {
  return dense({q.shape[0], Dim(a.ints[0]), q.shape[1]}, wide(q.dtype));
}
std::vector<TensorSpec> infer(std::span<const TensorSpec> in, const Attrs& a) {
  require_qkv(in, a);
  return {in[0], lse_of(in[0], a)};
}
std::vector<TensorSpec> infer_grad(std::span<const TensorSpec> in, const Attrs& a) {
  require_qkv(in, a);
  require(in[3] == in[0] && in[5] == in[0] && in[4] == lse_of(in[0], a),
          "needs o, lse and do as the forward pass has them");
  return {in[0], in[1], in[2]};
}

/// Pairs of a query and a key that it sees, over all heads.
double pairs(const OpInstance& op) {
  const auto n = static_cast<double>(op.in[0].dim[1]), m = static_cast<double>(op.in[1].dim[1]);
  const double heads = static_cast<double>(op.in[0].dim[0]) * static_cast<double>(op.attrs.ints[0]);
  if (op.attrs.ints[2] == 0) return heads * n * m;
  const double rows = std::min(n, m);  // those that see a key; the last sees all m
  return heads * (rows * m - rows * (rows - 1) / 2);
}
double head_size(const OpInstance& op) {
  return static_cast<double>(op.in[0].dim[2]) / static_cast<double>(op.attrs.ints[0]);
}
/// Two products of a head's size a pair forward, five backward. (Dao 2023.)
template <int products>
Cost cost(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = 2.0 * products * pairs(op) * head_size(op);
  return c;
}

void grad(GradContext& c) {
  require(c.of_out(1) == kNone, "flash_attention has no gradient through lse");
  if (!c.wants(0) && !c.wants(1) && !c.wants(2)) return;
  const std::vector<ValueId> d =
      c.builder().apply(flash_attention_grad, {c.in(0), c.in(1), c.in(2), c.out(0), c.out(1), c.of_out()}, c.attrs());
  for (int i = 0; i < 3; ++i)
    if (c.wants(i)) c.give(i, d[static_cast<std::size_t>(i)]);
}

// Scratch: flash_scratch and flash_grad_scratch of kernels/cpu/flash.h, of which ops may know nothing; a test compares.
i64 wide(const OpInstance& op) { return (op.in[0].dim[2] / op.attrs.ints[0] + 31) / 32 * 32; }
i64 at_most(i64 rows, i64 n) { return rows < n ? rows : std::max<i64>(n, 1); }
/// A block of queries with their sums, a tile of 128 keys and values, a tile of scores; in bf16 one of weights.
Bytes scratch(const OpInstance& op, int workers) {
  const i64 w = wide(op), n = op.in[0].dim[1], m = op.in[1].dim[1];
  const i64 block = at_most((m * w <= 65536 ? 16384 : 65536) / w / 16 * 16, n);
  const u64 weights = op.in[0].dtype == DType::bf16 ? 4 * 8 * 128 : 0;
  return Bytes{(round_up(static_cast<u64>(4 * (2 * w * (block + 128) + 8 * 128 + 2 * block)), 64) + weights) *
               static_cast<u64>(workers)};
}
/// Five tiles of 64 keys, three of 32 queries, two of scores, and two numbers for each query of a block; in bf16 a tile
/// of queries and three of scores more, and dq with two numbers for each query of a head.
Bytes scratch_grad(const OpInstance& op, int workers) {
  if (op.in[0].dtype == DType::bf16) {
    const i64 size = wide(op), all = size * (5 * 64 + 4 * 32) + 5 * 64 * 32 + op.in[0].dim[1] * (size + 2);
    return Bytes{round_up(static_cast<u64>(4 * all), 64) * static_cast<u64>(workers)};
  }
  const i64 w = wide(op), tiles = w * (5 * 64 + 3 * 32) + 2 * 64 * 32;
  const i64 block = at_most((244000 - tiles - 4 * 64 * w) / (3 * w) / 32 * 32, op.in[0].dim[1]);
  return Bytes{round_up(static_cast<u64>(4 * (tiles + 2 * block)), 64) * static_cast<u64>(workers)};
}

}  // namespace

const OpDef flash_attention{"flash_attention", OpClass::attention, 3, 2, infer, cost<2>, scratch, {}, 0, false, grad};
const OpDef flash_attention_grad{"flash_attention_grad", OpClass::attention, 6, 3, infer_grad, cost<5>, scratch_grad};

}  // namespace terrace::ops
