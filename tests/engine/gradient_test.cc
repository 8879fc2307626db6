// Every op that training can meet: its gradient against finite differences in float64, at random shapes.
#include "engine/gradient_check.h"

#include "terrace/core/error.h"
#include "terrace/nn/loss.h"
#include "terrace/ops/fused.h"
#include "terrace/ops/standard_attention.h"

namespace terrace {
namespace {

using testing::GradientCheck;

Attrs ints(i64 a, i64 b = 0, i64 c = 0, i64 d = 0) {
  Attrs x;
  x.ints = {a, b, c, d};
  return x;
}
Attrs floats(double a) {
  Attrs x;
  x.floats[0] = a;
  return x;
}

/// Three draws of shapes and numbers.
class Gradients : public ::testing::TestWithParam<u64> {
 protected:
  i64 size(i64 lo, i64 hi) { return lo + shapes_.below(hi - lo + 1); }
  testing::Random shapes_{GetParam()};
  GradientCheck c{GetParam() * 77};
};
INSTANTIATE_TEST_SUITE_P(Seeds, Gradients, ::testing::Values(1, 2, 3));

TEST_P(Gradients, Arithmetic) {
  const Shape s{Dim(size(1, 3)), Dim(size(1, 4)), Dim(size(1, 7))};
  const ValueId a = c.x(s), b = c.x(s), far = c.b.call(ops::add, {c.b.call(ops::mul, {b, b}), c.x(s)});
  const ValueId y = c.b.call(
      ops::div, {c.b.call(ops::sub, {a, far}), c.b.call(ops::add, {far, c.b.call(ops::fill, {a}, floats(4))})});
  c.expect_gradient(c.b.call(ops::scale, {y}, floats(-1.5)));
}

TEST_P(Gradients, Activations) {
  const Shape s{Dim(size(1, 4)), Dim(size(1, 9))};
  const ValueId x = c.x(s, 3, true);
  ValueId y = c.b.call(ops::gelu, {x});
  y = c.b.call(ops::add, {y, c.b.call(ops::silu, {x})});
  y = c.b.call(ops::add, {y, c.b.call(ops::silu_mul, {x, c.x(s)})});
  c.expect_gradient(c.b.call(ops::add, {y, c.b.call(ops::relu, {x})}));
}

TEST_P(Gradients, Softmax) { c.expect_gradient(c.b.call(ops::softmax, {c.x({Dim(size(1, 5)), Dim(size(2, 9))}, 2)})); }

TEST_P(Gradients, Norms) {
  const i64 k = size(3, 9);
  const ValueId x = c.x({Dim(size(1, 3)), Dim(size(1, 4)), Dim(k)});
  const ValueId y = c.b.call(ops::layer_norm, {x, c.x({Dim(k)}), c.x({Dim(k)})}, floats(1e-3));
  c.expect_gradient(c.b.call(ops::add, {y, c.b.call(ops::rms_norm, {x, c.x({Dim(k)})}, floats(1e-3))}));
}

TEST_P(Gradients, Sums) {
  const i64 k = size(1, 6);
  const Shape s{Dim(size(1, 3)), Dim(size(1, 4)), Dim(k)};
  const ValueId x = c.x(s), y = c.b.call(ops::add_row, {x, c.x({Dim(k)})});
  const ValueId sum = c.b.call(ops::sum_rows, {c.b.call(ops::mul, {y, x})});
  c.expect_gradient(c.b.call(ops::spread, {x, c.b.call(ops::mean, {c.b.call(ops::mul, {sum, sum})})}, floats(0.7)));
}

TEST_P(Gradients, LinearCrossEntropyInChunks) {
  const i64 batch = size(1, 3), length = size(1, 5), k = size(1, 4), v = size(2, 6);
  for (const i64 rows : {i64{1}, size(1, 4), length, batch * length}) {
    SCOPED_TRACE(rows);
    GradientCheck g(static_cast<u64>(rows) + GetParam() * 177);
    const ValueId x = g.x({Dim(batch), Dim(length), Dim(k)}), w = g.x({Dim(v), Dim(k)}, 2);
    const ValueId loss = nn::linear_cross_entropy(g.b, x, w, g.ids({Dim(batch), Dim(length)}, v), {true, true, rows});
    g.expect_gradient(g.b.call(ops::mul, {loss, loss}));
  }
}

TEST_P(Gradients, WithGradient) {
  const Shape s{Dim(size(1, 3)), Dim(size(1, 4))};
  const ValueId x = c.x(s), z = c.x({Dim(1)});
  // The mean of squares, and what is told of its gradient; once scaled, once times what varies.
  const ValueId y = c.b.call(ops::mean, {c.b.call(ops::mul, {x, x})});
  const double n = static_cast<double>(s[0].value * s[1].value);
  const ValueId told = c.b.call(ops::with_gradient, {y, x, c.b.call(ops::scale, {x}, floats(2 / n))});
  const ValueId scaled = c.b.call(ops::scale, {told}, floats(3));
  c.expect_gradient(c.b.call(ops::add, {scaled, c.b.call(ops::mul, {told, z})}));
}

TEST_P(Gradients, MatmulInEveryTransposition) {
  const i64 m = size(1, 5), n = size(1, 5), k = size(1, 5), batch = size(1, 3), heads = size(1, 2);
  ValueId sum = kNone;
  for (i64 ta : {0, 1})
    for (i64 tb : {0, 1}) {
      const Shape a =
          ta ? Shape{Dim(batch), Dim(heads), Dim(k), Dim(m)} : Shape{Dim(batch), Dim(heads), Dim(m), Dim(k)};
      const Shape b =
          tb ? Shape{Dim(batch), Dim(heads), Dim(n), Dim(k)} : Shape{Dim(batch), Dim(heads), Dim(k), Dim(n)};
      const ValueId y = c.b.call(ops::matmul, {c.x(a), c.x(b)}, ints(ta, tb));
      sum = sum == kNone ? y : c.b.call(ops::add, {sum, y});
    }
  c.expect_gradient(sum);
}

TEST_P(Gradients, MatmulOfFlattenedRows) {
  const i64 b = size(1, 3), t = size(1, 4), k = size(1, 5), n = size(1, 5);
  const ValueId x = c.x({Dim(b), Dim(t), Dim(k)});
  ValueId y = c.b.call(ops::matmul, {x, c.x({Dim(k), Dim(n)})}, ints(0, 0, 1));
  y = c.b.call(ops::add, {y, c.b.call(ops::matmul, {x, c.x({Dim(n), Dim(k)})}, ints(0, 1, 1))});
  const ValueId square = c.b.call(ops::matmul, {x, y}, ints(1, 0, 1));  // [k, n], summed over rows
  c.expect_gradient(c.b.call(ops::matmul, {square, c.x({Dim(b * t), Dim(k)})}, ints(1, 1, 1)));
}

TEST_P(Gradients, Linear) {
  const i64 k = size(1, 5);
  c.expect_gradient(c.b.call(ops::linear, {c.x({Dim(size(1, 4)), Dim(k)}), c.x({Dim(size(1, 4)), Dim(k)})}));
}

TEST_P(Gradients, EmbeddingAndCrossEntropy) {
  const i64 b = size(1, 3), t = size(1, 4), k = size(2, 5), vocabulary = size(3, 8);
  const ValueId table = c.x({Dim(vocabulary), Dim(k)});
  const ValueId rows = c.b.call(ops::take_rows, {table, c.ids({Dim(b), Dim(t)}, vocabulary)});
  const ValueId logits = c.b.call(ops::matmul, {rows, table}, ints(0, 1, 1));  // tied
  c.expect_gradient(c.b.apply(ops::cross_entropy, {logits, c.ids({Dim(b), Dim(t)}, vocabulary)})[0]);
}

TEST_P(Gradients, FlashAttention) {
  for (const i64 causal : {0, 1}) {
    GradientCheck check(GetParam() * 31 + static_cast<u64>(causal));
    const i64 groups = size(1, 2), heads = groups * size(1, 2), d = size(1, 4), batch = size(1, 2);
    const i64 n = size(1, 5), m = size(1, 5);
    Attrs a = ints(heads, groups, causal);
    a.floats[0] = 0.7;
    const ValueId q = check.x({Dim(batch), Dim(n), Dim(heads * d)}), k = check.x({Dim(batch), Dim(m), Dim(groups * d)});
    const ValueId v = check.x({Dim(batch), Dim(m), Dim(groups * d)});
    if (m == 1) continue;  // one key: scores do not matter
    check.expect_gradient(check.b.apply(ops::flash_attention, {q, k, v}, a)[0]);
  }
}

TEST_P(Gradients, Rope) {
  const i64 head = 2 * size(1, 3), t = size(1, 4);
  const ValueId x = c.x({Dim(size(1, 3)), Dim(t), Dim(2 * head)});
  Attrs angles = ints(head);
  angles.floats[0] = 100;
  c.expect_gradient(c.b.call(ops::rope, {x, c.b.call(ops::rope_angles, {x}, angles)}, ints(head)));
}

TEST_P(Gradients, ShapesOnly) {
  const i64 a = size(1, 3), b = size(2, 4), d = size(1, 5);
  const ValueId x = c.x({Dim(a), Dim(b), Dim(d)}), y = c.x({Dim(a), Dim(2), Dim(d)});
  const ValueId joined = c.b.call(ops::concat, {x, y}, ints(1));
  const ValueId part = c.b.call(ops::slice, {joined}, ints(1, 1, b));
  const ValueId turned = c.b.call(ops::transpose, {part}, ints(0x102));  // [d, a, b]
  c.expect_gradient(c.b.call(ops::pad, {c.b.call(ops::mul, {turned, turned})}, ints(0, 1, d + 3)));
}

TEST_P(Gradients, WindowsOverImages) {
  const i64 batch = size(1, 2), height = size(4, 6), width = size(4, 6), channels = size(1, 2);
  const ValueId x = c.x({Dim(batch), Dim(height), Dim(width), Dim(channels)});
  ValueId y = c.b.call(ops::patches, {x}, ints(3, size(1, 2), size(0, 2)));
  y = c.b.call(ops::matmul, {y, c.x({Dim(9 * channels), Dim(3)})}, ints(0, 0, 1));  // a convolution
  c.expect_gradient(y);
  GradientCheck pools(GetParam() + 5);
  const ValueId z = pools.x({Dim(batch), Dim(height), Dim(width), Dim(channels)});
  pools.expect_gradient(pools.b.call(
      ops::add, {pools.b.call(ops::mean_pool, {z}, ints(2, 1)), pools.b.call(ops::max_pool, {z}, ints(2, 1))}));
  GradientCheck folds(GetParam() + 6);
  folds.expect_gradient(
      folds.b.call(ops::fold, {folds.x({Dim(batch), Dim(9), Dim(4 * channels)})}, ints(2, 1, 0, i64{4} << 32 | 4)));
}

TEST_P(Gradients, Dropout) {
  const ValueId x = c.x({Dim(size(2, 4)), Dim(size(5, 9))}), step = c.ids({Dim(1)}, 1000);
  Attrs a = ints(17);
  a.floats[0] = 0.3;
  const ValueId y = c.b.call(ops::dropout, {x, step}, a);
  c.expect_gradient(c.b.call(ops::mul, {y, y}));
}

TEST_P(Gradients, SumsWithNorms) {
  const i64 k = size(3, 9);
  const Shape s{Dim(size(1, 3)), Dim(size(1, 4)), Dim(k)};
  const auto y = c.b.apply(ops::add_layer_norm, {c.x(s), c.x(s), c.x({Dim(k)}), c.x({Dim(k)})}, floats(1e-3));
  const auto z = c.b.apply(ops::add_rms_norm, {y[0], y[1], c.x({Dim(k)})}, floats(1e-3));
  c.expect_gradient(c.b.call(ops::mul, {z[1], y[0]}));  // the second sum is not read
}

TEST_P(Gradients, BiasesWithActivations) {
  const i64 k = size(4, 9);
  const ValueId x = c.x({Dim(size(1, 4)), Dim(k)}, 3);
  ValueId sum = x;
  for (const i64 f : {0, 1, 2})
    sum = c.b.call(ops::add, {sum, c.b.call(ops::bias_activation, {x, c.x({Dim(k)}, 3)}, ints(f))});
  c.expect_gradient(c.b.call(ops::mul, {sum, sum}));
}

TEST_P(Gradients, StandardAttention) {
  const i64 heads = size(1, 3), d = size(1, 4), batch = size(1, 2), n = size(2, 5), m = n + size(0, 2);
  const auto by_head = [&](i64 length) {
    return c.b.call(ops::split_heads, {c.x({Dim(batch), Dim(length), Dim(heads * d)})}, ints(heads));
  };
  const ValueId q = by_head(n), k = by_head(m), v = by_head(m);
  const ValueId weights = c.b.call(ops::causal_softmax, {c.b.call(ops::matmul, {q, k}, ints(0, 1))});
  c.expect_gradient(c.b.call(ops::merge_heads, {c.b.call(ops::matmul, {weights, v})}));
}

TEST(Gradient, OfSharedValuesIsSummedInTheOrderOfTheSweep) {
  GraphBuilder b;
  const ValueId x = b.input("x", testing::f64({Dim(1)})), y = b.call(ops::mul, {x, x}), z = b.call(ops::mul, {y, x});
  std::vector<ValueId> done;
  const std::vector<ValueId> wrt = {x};
  gradients(b, z, wrt, [&](std::size_t i, ValueId) { done.push_back(wrt[i]); });
  EXPECT_EQ(done, wrt);
}

/// Called once nothing that comes later reads the value: an optimizer may change it then.
TEST(Gradient, CompletesAsSoonAsItCan) {
  GraphBuilder b;
  const Shape s{Dim(2), Dim(2)};
  const ValueId x = b.input("x", testing::f64(s)), w1 = b.state("w1", testing::f64(s)),
                w2 = b.state("w2", testing::f64(s));
  const ValueId h = b.call(ops::linear, {x, w1}), y = b.call(ops::linear, {h, w2});
  const std::vector<ValueId> wrt = {w1, w2};
  std::vector<std::size_t> order;
  std::size_t nodes_at_w2 = 0;
  const auto loss = b.call(ops::mean, {y});
  gradients(b, loss, wrt, [&](std::size_t i, ValueId) {
    order.push_back(i);
    if (i == 1) nodes_at_w2 = b.graph().nodes().size();
  });
  EXPECT_EQ(order, (std::vector<std::size_t>{1, 0}));
  EXPECT_LT(nodes_at_w2, b.graph().nodes().size());
  for (std::size_t n = nodes_at_w2; n < b.graph().nodes().size(); ++n)
    for (ValueId v : b.graph().node(static_cast<NodeId>(n)).inputs) EXPECT_NE(v, w2);
}

TEST(Gradient, SaysWhatHasNone) {
  const auto message = [](auto build) {
    GraphBuilder b;
    try {
      build(b);
    } catch (const Error& e) { return std::string(e.what()); }
    return std::string("nothing");
  };
  const Shape row{Dim(1), Dim(32)};
  EXPECT_NE(message([&](GraphBuilder& b) {
              const ValueId x = b.input("x", {DType::f32, Layout::dense, row});
              const ValueId y = b.call(ops::dequantize, {b.call(ops::quantize, {x})});
              gradients(b, b.call(ops::mean, {y}), {&x, 1});
            }).find("no gradient through a block layout"),
            std::string::npos);
  EXPECT_NE(message([&](GraphBuilder& b) {
              const ValueId x = b.input("x", testing::f64(row)), y = b.input("y", testing::f64(row));
              gradients(b, b.call(ops::mean, {x}), {&y, 1});
            }).find("does not depend"),
            std::string::npos);
  EXPECT_NE(message([&](GraphBuilder& b) {
              const ValueId x = b.input("x", testing::f64(row));
              gradients(b, x, {&x, 1});
            }).find("one number"),
            std::string::npos);
}

}  // namespace
}  // namespace terrace
