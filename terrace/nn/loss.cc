#include "terrace/nn/loss.h"

#include <algorithm>

#include "terrace/ops/ops.h"

namespace terrace::nn {
namespace {

/// Rows that a product sums up before it adds on: cut at these, its bits are those of the whole.
constexpr i64 kDepth = 384;
constexpr i64 kMostLogits = i64{128} << 20;  // bytes at once, if kDepth rows take more: fewer rows

struct Range {
  i64 begin, end;
  i64 count() const { return end - begin; }
};

class Chunks {
 public:
  Chunks(GraphBuilder& b, ValueId x, ValueId w, ValueId targets, const LinearCrossEntropy& o)
      : b_(b), x_(x), w_(w), targets_(targets), o_(o), shape_(b.spec(x).shape) {
    const i64 row = 4 * b.spec(w).shape[0].value;
    rows_ = o.rows > 0 ? o.rows : row * kDepth <= kMostLogits ? kDepth : std::max<i64>(1, kMostLogits / row);
  }

  ValueId run() {
    const Part all = part({0, batch()}, {0, length()});
    ValueId loss = b_.call(ops::mean, {all.loss}, {}, "loss");
    Attrs pass;
    if (o_.x_trains) {
      loss = b_.call(ops::with_gradient, {loss, x_, all.dx}, pass);
      pass.ints[0] = 1;
    }
    return o_.w_trains ? b_.call(ops::with_gradient, {loss, w_, dw_}, pass) : loss;
  }

 private:
  struct Part {
    ValueId loss = kNone, dx = kNone;
  };
  i64 batch() const { return shape_[0].value; }
  i64 length() const { return shape_[1].value; }

  /// Rows of all batch elements, or of one of them.
  Part part(Range elements, Range places) {
    if (elements.count() * places.count() <= rows_) return chunk(elements, places);
    const i64 axis = elements.count() > 1 ? 0 : 1;
    Range& cut = axis == 0 ? elements : places;
    const i64 unit = axis == 0 ? std::max<i64>(1, rows_ / length()) : rows_;
    const i64 units = (cut.count() + unit - 1) / unit, middle = cut.begin + std::max<i64>(1, units / 2) * unit;
    const i64 end = cut.end;
    cut.end = middle;
    const Part first = part(elements, places);
    cut = {middle, end};
    const Part second = part(elements, places);
    const auto join = [&](ValueId x, ValueId y) { return x == kNone ? kNone : b_.call(ops::concat, {x, y}, at(axis)); };
    const ValueId loss = join(first.loss, second.loss);
    return {loss, join(first.dx, second.dx)};
  }

  Part chunk(Range elements, Range places) {
    const ValueId x = cut(cut(x_, 0, elements), 1, places), targets = cut(cut(targets_, 0, elements), 1, places);
    const ValueId logits = product(x, w_, 0, 1, wide(b_.spec(x).dtype));
    const std::vector<ValueId> losses = b_.apply(ops::cross_entropy, {logits, targets}, {}, "loss_by_token");
    Part p{losses[0], kNone};
    if (!o_.x_trains && !o_.w_trains) return p;
    Attrs share;
    share.floats[0] = 1 / static_cast<double>(batch() * length());
    const ValueId even = b_.call(ops::fill, {losses[0]}, share);
    const ValueId d = b_.call(ops::cross_entropy_grad, {logits, targets, losses[1], even}, {}, "d_logits");
    if (o_.x_trains) p.dx = product(d, w_, 0, 0, b_.spec(x).dtype);
    if (!o_.w_trains) return p;
    Attrs turned;
    turned.ints = {1, 0, 1, 0};
    dw_ = dw_ == kNone ? product(d, x, 1, 0, b_.spec(w_).dtype) : b_.call(ops::matmul_add, {dw_, d, x}, turned);
    return p;
  }

  static Attrs at(i64 axis) {
    Attrs a;
    a.ints[0] = axis;
    return a;
  }
  ValueId cut(ValueId v, i64 axis, Range r) {
    const i64 all = b_.spec(v).shape[static_cast<int>(axis)].value;
    if (r.count() == all) return v;
    Attrs a = at(axis);
    a.ints[1] = r.begin;
    a.ints[2] = r.count();
    return b_.call(ops::slice, {v}, a);
  }
  static DType wide(DType t) { return t == DType::bf16 ? DType::f32 : t; }
  /// In type `t`.
  ValueId product(ValueId x, ValueId y, i64 tx, i64 ty, DType t) {
    Attrs a;
    a.ints = {tx, ty, 1, b_.spec(x).dtype == t ? 0 : t == DType::f32 ? 1 : 2};
    return b_.call(ops::matmul, {x, y}, a);
  }

  GraphBuilder& b_;
  ValueId x_, w_, targets_;
  LinearCrossEntropy o_;
  Shape shape_;
  i64 rows_ = 1;
  ValueId dw_ = kNone;
};

}  // namespace

ValueId mean_cross_entropy(GraphBuilder& b, ValueId logits, ValueId targets) {
  return b.call(ops::mean, {b.apply(ops::cross_entropy, {logits, targets}, {}, "loss_by_token")[0]}, {}, "loss");
}

ValueId accuracy(GraphBuilder& b, ValueId logits, ValueId targets) {
  return b.call(ops::mean, {b.call(ops::correct, {logits, targets})}, {}, "accuracy");
}

ValueId linear_cross_entropy(GraphBuilder& b, ValueId x, ValueId w, ValueId targets, const LinearCrossEntropy& o) {
  return Chunks(b, x, w, targets, o).run();
}

}  // namespace terrace::nn
