// matmul, matmul_add: products of matrices in every transposition, batched or flattened to rows.
#include <algorithm>

#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

/// op(a) op(b) = [m, n] over k.
struct Extents {
  Dim m, n, k;
};
Extents extents(const TensorSpec& a, const TensorSpec& b, const Attrs& attrs) {
  const bool ta = attrs.ints[0] != 0, tb = attrs.ints[1] != 0, flat = attrs.ints[2] != 0;
  const auto rows = [&](const TensorSpec& s) -> Dim {
    if (!flat) return s.shape[s.shape.rank - 2];
    if (s.shape.rank == 2) return s.shape[0];
    i64 n = 1;
    for (int i = 0; i + 1 < s.shape.rank; ++i) {
      require(!s.shape[i].is_symbol(), "flattens constant extents only");
      n *= s.shape[i].value;
    }
    return Dim(n);
  };
  const Dim ka = ta ? rows(a) : a.shape.last(), kb = tb ? b.shape.last() : rows(b);
  require(ka == kb, "the extents that are summed over must agree");
  return {ta ? a.shape.last() : rows(a), tb ? rows(b) : b.shape.last(), ka};
}

std::vector<TensorSpec> infer(std::span<const TensorSpec> in, const Attrs& attrs) {
  const TensorSpec &a = in[0], &b = in[1];
  require(is_real(a), "needs dense numbers on the left");
  const auto is_short = [](const TensorSpec& t) { return is_dense(t, DType::f32) || is_dense(t, DType::bf16); };
  const bool packed = b.layout != Layout::dense ? b.layout != Layout::q8a : b.dtype == DType::f16;
  const bool weight = packed && a.dtype != DType::bf16 && attrs.ints[2] != 0;
  require((is_real(b) && a.dtype == b.dtype) || (is_short(a) && is_short(b)) || weight,
          "needs one type, f32 and bf16, or, flattened, a weight on the right");
  require(a.shape.rank >= 2 && b.shape.rank >= 2, "needs matrices");
  const bool ta = attrs.ints[0] != 0, flat = attrs.ints[2] != 0;
  if (!flat) {
    require(a.shape.rank == b.shape.rank, "needs one rank, or ints[2] to flatten");
    for (int i = 0; i + 2 < a.shape.rank; ++i) require(a.shape[i] == b.shape[i], "needs the same leading extents");
  }
  const Extents e = extents(a, b, attrs);
  TensorSpec out = dense(a.shape, chosen_type(attrs.ints[3], a.dtype));
  if (flat && ta) {
    out.shape = {e.m, e.n};
  } else {
    out.shape[out.shape.rank - 1] = e.n;
    if (!flat) out.shape[out.shape.rank - 2] = e.m;
  }
  return {out};
}

/// The extent that is summed over.
i64 summed(const OpInstance& op) {
  const TensorView& a = op.in[0];
  if (op.attrs.ints[0] == 0) return a.dim[a.rank - 1];
  i64 rows = a.dim[a.rank - 2];
  if (op.attrs.ints[2] != 0)
    for (int i = 0; i + 2 < a.rank; ++i) rows *= a.dim[i];
  return rows;
}

Cost cost(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = 2 * static_cast<double>(summed(op));
  for (int i = 0; i < op.out[0].rank; ++i) c.flops *= static_cast<double>(op.out[0].dim[i]);
  return c;
}

/// With C = op(A) op(B): dA = dC op(B)^T, dB = op(A)^T dC, each transposed where its operand is.
void grad(GradContext& c) {
  const i64 ta = c.attrs().ints[0], tb = c.attrs().ints[1], flat = c.attrs().ints[2];
  const ValueId a = c.in(0), b = c.in(1), d = c.of_out();
  const auto product = [&](ValueId x, ValueId y, i64 tx, i64 ty, ValueId like) {
    Attrs attrs;
    attrs.ints = {tx, ty, flat, type_code(c.spec(like).dtype, c.spec(x).dtype)};
    return c.call(matmul, {x, y}, attrs);
  };
  if (c.wants(0)) c.give(0, ta ? product(b, d, tb, 1, a) : product(d, b, 0, 1 - tb, a));
  if (c.wants(1)) c.give(1, tb ? product(d, a, 1, ta, b) : product(a, d, 1 - ta, 0, b));
}

/// A packed panel of b and a strip of a for each worker: matmul_scratch of kernels/cpu/matmul.h; and sums before they
/// are rounded, its matmul_sums.
Bytes scratch(const OpInstance& op, int workers) {
  const u64 k = round_up(static_cast<u64>(std::max<i64>(summed(op), 1)), 16);
  const u64 n = round_up(static_cast<u64>(std::max<i64>(op.out[0].dim[op.out[0].rank - 1], 1)), 32);
  u64 floats = std::min<u64>(k, 384) * std::min<u64>(n, 512) + 16 * 400;
  if (op.out[0].dtype == DType::bf16) {
    u64 m = static_cast<u64>(op.out[0].dim[op.out[0].rank - 2]);
    for (int i = 0; op.attrs.ints[2] != 0 && i + 2 < op.out[0].rank; ++i) m *= static_cast<u64>(op.out[0].dim[i]);
    floats += (summed(op) <= 384 ? 16 : std::clamp<u64>(m, 16, 448)) * std::min<u64>(n, 512);
  }
  return Bytes{4 * floats * static_cast<u64>(workers)};
}

/// matmul_add's product by itself.
OpInstance product_of(const OpInstance& op) { return {op.in.subspan(1), op.out, op.attrs, op.symbols}; }
std::vector<TensorSpec> infer_add(std::span<const TensorSpec> in, const Attrs& attrs) {
  Attrs typed = attrs;
  typed.ints[3] = type_code(in[0].dtype, in[1].dtype);
  require(in[0].dtype != DType::bf16 && in[0] == infer(in.subspan(1), typed)[0],
          "adds to what has the product's shape");
  return {in[0]};
}
Cost cost_add(const OpInstance& op) {
  Cost c = streaming_cost(op, 1);
  c.flops += cost(product_of(op)).flops;
  return c;
}
Bytes scratch_add(const OpInstance& op, int workers) { return scratch(product_of(op), workers); }

}  // namespace

const OpDef matmul_add{
    "matmul_add", OpClass::contraction, 3, 1, infer_add, cost_add, scratch_add, {}, 0, false, nullptr, 0b1};
const OpDef matmul{"matmul", OpClass::contraction, 2, 1, infer, cost, scratch, {}, 0, false, grad};

}  // namespace terrace::ops
