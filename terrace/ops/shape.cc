// slice, pad, concat, transpose: elements in other places.
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

int axis_of_attrs(const TensorSpec& x, const Attrs& a) {
  require(is_real(x) || is_dense(x, DType::i32), "needs dense numbers");
  require(a.ints[0] >= 0 && a.ints[0] < x.shape.rank, "ints[0] names no axis");
  const int axis = static_cast<int>(a.ints[0]);
  require(!x.shape[axis].is_symbol(), "needs a constant extent along its axis");
  return axis;
}
std::vector<TensorSpec> infer_slice(std::span<const TensorSpec> in, const Attrs& a) {
  const int axis = axis_of_attrs(in[0], a);
  TensorSpec y = in[0];
  require(a.ints[1] >= 0 && a.ints[2] > 0 && a.ints[1] <= y.shape[axis].value - a.ints[2], "takes what is not there");
  y.shape[axis] = Dim(a.ints[2]);
  return {y};
}
std::vector<TensorSpec> infer_pad(std::span<const TensorSpec> in, const Attrs& a) {
  const int axis = axis_of_attrs(in[0], a);
  TensorSpec y = in[0];
  require(a.ints[1] >= 0 && a.ints[1] <= a.ints[2] - y.shape[axis].value, "x does not lie within the extent asked for");
  y.shape[axis] = Dim(a.ints[2]);
  return {y};
}
std::vector<TensorSpec> infer_concat(std::span<const TensorSpec> in, const Attrs& a) {
  const int axis = axis_of_attrs(in[0], a);
  axis_of_attrs(in[1], a);
  TensorSpec y = in[0], other = in[1];
  y.shape[axis] = Dim(in[0].shape[axis].value + in[1].shape[axis].value);
  other.shape[axis] = y.shape[axis];
  require(y == other, "needs the same extents along the other axes, and one type");
  return {y};
}
std::vector<TensorSpec> infer_transpose(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]), "needs dense numbers");
  TensorSpec y = in[0];
  unsigned seen = 0;
  for (int i = 0; i < y.shape.rank; ++i) {
    const auto from = static_cast<int>(a.ints[0] >> (4 * i) & 15);
    require(from < y.shape.rank, "ints[0] names no axis");
    seen |= 1u << from;
    y.shape[i] = in[0].shape[from];
  }
  require(seen == (1u << y.shape.rank) - 1, "ints[0] must name each axis once");
  return {y};
}
Cost cost(const OpInstance& op) { return streaming_cost(op, 0); }
Cost cost_slice(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.read[0] = c.write[0];
  return c;
}

void grad_slice(GradContext& c) {
  Attrs a = c.attrs();
  a.ints[2] = c.spec(c.in(0)).shape[static_cast<int>(a.ints[0])].value;
  if (c.wants(0)) c.give(0, c.call(pad, {c.of_out()}, a));
}
ValueId part(GradContext& c, i64 begin, i64 count) {
  Attrs a;
  a.ints = {c.attrs().ints[0], begin, count, 0};
  return c.call(slice, {c.of_out()}, a);
}
void grad_pad(GradContext& c) {
  const int axis = static_cast<int>(c.attrs().ints[0]);
  if (c.wants(0)) c.give(0, part(c, c.attrs().ints[1], c.spec(c.in(0)).shape[axis].value));
}
void grad_concat(GradContext& c) {
  const int axis = static_cast<int>(c.attrs().ints[0]);
  const i64 first = c.spec(c.in(0)).shape[axis].value, second = c.spec(c.in(1)).shape[axis].value;
  if (c.wants(0)) c.give(0, part(c, 0, first));
  if (c.wants(1)) c.give(1, part(c, first, second));
}
void grad_transpose(GradContext& c) {
  Attrs a;
  for (int i = 0; i < c.spec(c.in(0)).shape.rank; ++i) a.ints[0] |= i64{i} << (4 * (c.attrs().ints[0] >> (4 * i) & 15));
  if (c.wants(0)) c.give(0, c.call(transpose, {c.of_out()}, a));
}

}  // namespace

const OpDef slice{"slice", OpClass::data_movement, 1, 1, infer_slice, cost_slice, no_scratch, {}, 0, false, grad_slice};
const OpDef pad{"pad", OpClass::data_movement, 1, 1, infer_pad, cost, no_scratch, {}, 0, false, grad_pad};
const OpDef concat{"concat", OpClass::data_movement, 2, 1, infer_concat, cost, no_scratch, {}, 0, false, grad_concat};
const OpDef transpose{"transpose", OpClass::data_movement, 1, 1, infer_transpose, cost, no_scratch, {}, 0,
                      false,       grad_transpose};

}  // namespace terrace::ops
