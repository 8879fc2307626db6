#include "terrace/ops/ops.h"

#include <gtest/gtest.h>

#include <array>

#include "terrace/core/error.h"
#include "terrace/graph/graph.h"
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/matmul.h"

namespace terrace {
namespace {

Cost cost_of(const OpDef& op, std::vector<TensorSpec> in, const Attrs& attrs, std::vector<i64> symbols = {}) {
  const std::vector<TensorSpec> out = op.infer(in, attrs);
  std::vector<TensorView> vi, vo;
  for (const TensorSpec& s : in) vi.push_back(make_view(s, nullptr, symbols));
  for (const TensorSpec& s : out) vo.push_back(make_view(s, nullptr, symbols));
  return op.cost({vi, vo, attrs, symbols});
}
TensorSpec f32(Shape s) { return {DType::f32, Layout::dense, s}; }
TensorSpec bf16(Shape s) { return {DType::bf16, Layout::dense, s}; }

TEST(Ops, EveryRowOfTheTableIsWhole) {
  for (const OpDef* op : ops::all()) {
    EXPECT_EQ(ops::find(op->name), op);
    EXPECT_TRUE(op->infer && op->cost && op->scratch) << op->name;
    EXPECT_LE(op->n_inputs + op->n_outputs, kMaxOperands) << op->name;
    for (const Axis& a : op->axes) EXPECT_EQ(a.kind == Axis::none, a.name.empty()) << op->name;
  }
  EXPECT_EQ(ops::find("nothing"), nullptr);
}

TEST(Ops, LinearCountsTwoOperationsAMultiplyAdd) {
  const Cost c = cost_of(
      ops::linear, {{DType::f32, Layout::q8a, {Dim(2), Dim(64)}}, {DType::f32, Layout::q4_1, {Dim(10), Dim(64)}}}, {});
  EXPECT_DOUBLE_EQ(c.flops, 2.0 * 2 * 10 * 64);
  EXPECT_EQ(c.read[0].count, 2u * 80);
  EXPECT_EQ(c.read[1].count, 10u * 40);
  EXPECT_EQ(c.write[0].count, 2u * 10 * 4);
}

TEST(Ops, AttentionReadsTheCacheUpToThePosition) {
  Attrs a;
  a.ints = {4, 2, 0, 0};
  a.symbols[0] = 0;
  const TensorSpec cache{DType::f16, Layout::dense, {Dim(100), Dim(64)}};
  const Cost c = cost_of(ops::attention, {f32({Dim(3), Dim(128)}), cache, cache}, a, {10});
  EXPECT_EQ(c.read[1].count, 13u * 64 * 2);
  EXPECT_EQ(c.read[2], c.read[1]);
  // rows have 11, 12 and 13 keys; each takes 2 * 32 for the score and 2 * 32 for the sum, in 4 heads
  EXPECT_DOUBLE_EQ(c.flops, (11 + 12 + 13) * 4.0 * 32 * 4);
}

TEST(Ops, TakingRowsReadsOnlyThem) {
  const Cost c = cost_of(ops::take_rows,
                         {{DType::f32, Layout::q8_0, {Dim(1000), Dim(64)}}, {DType::i32, Layout::dense, {Dim(3)}}}, {});
  EXPECT_EQ(c.read[0].count, 3u * 68);
  EXPECT_EQ(c.read[1].count, 12u);
  EXPECT_EQ(c.write[0].count, 3u * 68);
}

TEST(Ops, PositionsMayLeaveOutAxes) {
  Attrs a;
  const TensorSpec x = f32({Dim(2), Dim(5), Dim(3)});
  const auto infer = [&] { return ops::positions.infer(std::array{x}, a)[0].shape; };
  EXPECT_EQ(infer(), x.shape);
  a.ints[0] = 1;
  EXPECT_EQ(infer(), (Shape{Dim(2), Dim(5)}));
  for (const i64 wrong : {i64{-1}, i64{3}, i64{1} << 40}) {
    a.ints[0] = wrong;
    EXPECT_THROW(infer(), Error);
  }
}

TEST(Ops, AppendingWritesOnlyTheRows) {
  Attrs a;
  a.symbols[0] = 0;
  const Cost c =
      cost_of(ops::append_rows, {{DType::f16, Layout::dense, {Dim(100), Dim(64)}}, f32({Dim(3), Dim(64)})}, a, {7});
  EXPECT_EQ(c.read[0].count, 0u);
  EXPECT_EQ(c.read[1].count, 3u * 64 * 4);
  EXPECT_EQ(c.write[0].count, 3u * 64 * 2);
}

TEST(Ops, ResultsHaveTheTypeThatIsAskedFor) {
  const Shape s{Dim(4), Dim(8)};
  const TensorSpec w = f32({Dim(8)});
  const auto type = [](const OpDef& op, const std::vector<TensorSpec>& in, std::array<i64, 4> ints) {
    Attrs a;
    a.ints = ints;
    return op.infer(in, a)[0].dtype;
  };
  const auto matmul = [&](const TensorSpec& a, const TensorSpec& b, i64 t) {
    return type(ops::matmul, {a, b}, {0, 1, 1, t});
  };
  EXPECT_EQ(matmul(bf16(s), f32(s), 0), DType::bf16);
  EXPECT_EQ(matmul(bf16(s), f32(s), 1), DType::f32);
  EXPECT_EQ(matmul(f32(s), bf16(s), 0), DType::f32);
  EXPECT_EQ(matmul(f32(s), f32(s), 2), DType::bf16);
  EXPECT_THROW(matmul(f32(s), f32(s), 3), Error);
  EXPECT_THROW(matmul(bf16(s), {DType::f32, Layout::q8_0, {Dim(4), Dim(32)}}, 0), Error);
  EXPECT_THROW(matmul({DType::f64, Layout::dense, s}, {DType::f64, Layout::dense, s}, 1), Error);
  EXPECT_THROW(matmul({DType::f64, Layout::dense, s}, f32(s), 0), Error);
  EXPECT_EQ(type(ops::layer_norm, {f32(s), w, w}, {2, 0, 0, 0}), DType::bf16);
  EXPECT_EQ(type(ops::rms_norm, {f32(s), w}, {2, 0, 0, 0}), DType::bf16);
  EXPECT_EQ(type(ops::sum_rows, {bf16(s)}, {1, 0, 0, 0}), DType::f32);
  const TensorSpec stats = f32({Dim(4), Dim(2)});
  EXPECT_EQ(type(ops::norm_grad, {f32(s), w, stats, bf16(s)}, {1, 0, 0, 0}), DType::f32);
  EXPECT_EQ(type(ops::norm_grad_weight, {f32(s), stats, bf16(s)}, {1, 0, 0, 0}), DType::f32);
  EXPECT_THROW(type(ops::norm_grad, {bf16(s), bf16({Dim(8)}), stats, f32(s)}, {1, 0, 0, 0}), Error);
}

/// Ops state the scratch that their kernels want without including them.
u64 scratch_of(const OpDef& op, const std::vector<TensorSpec>& in, const Attrs& attrs) {
  const std::vector<TensorSpec> out = op.infer(in, attrs);
  std::vector<TensorView> vi, vo;
  for (const TensorSpec& s : in) vi.push_back(make_view(s, nullptr, {}));
  for (const TensorSpec& s : out) vo.push_back(make_view(s, nullptr, {}));
  const Bytes one = op.scratch({vi, vo, attrs, {}}, 1), three = op.scratch({vi, vo, attrs, {}}, 3);
  EXPECT_EQ(three.count, 3 * one.count);
  return one.count;
}

TEST(Ops, ScratchIsWhatTheKernelsAsk) {
  for (const i64 d : {1, 31, 32, 64, 100, 256})
    for (const i64 n : {1, 17, 64, 1024, 5000})
      for (const i64 m : {1, 64, 2000}) {
        Attrs a;
        a.ints = {2, 1, 1, 0};
        a.floats[0] = 1;
        const TensorSpec q = f32({Dim(3), Dim(n), Dim(2 * d)}), k = f32({Dim(3), Dim(m), Dim(d)});
        const TensorSpec lse = f32({Dim(3), Dim(2), Dim(n)});
        EXPECT_EQ(scratch_of(ops::flash_attention, {q, k, k}, a), flash_scratch(d, n, m));
        EXPECT_EQ(scratch_of(ops::flash_attention_grad, {q, k, k, q, lse, q}, a), flash_grad_scratch(d, n));
        const TensorSpec qh = bf16(q.shape), kh = bf16(k.shape);
        EXPECT_EQ(scratch_of(ops::flash_attention, {qh, kh, kh}, a), flash_bf16_scratch(d, n, m));
        EXPECT_EQ(scratch_of(ops::flash_attention_grad, {qh, kh, kh, qh, lse, qh}, a), flash_bf16_grad_scratch(d, n));
        for (const i64 t : {0, 1, 2, 3}) {
          a.ints = {t & 1, t >> 1, 0, 0};
          const TensorSpec x = t & 1 ? f32({Dim(m), Dim(d)}) : f32({Dim(d), Dim(m)});
          const TensorSpec y = t & 2 ? f32({Dim(n), Dim(m)}) : f32({Dim(m), Dim(n)});
          EXPECT_EQ(scratch_of(ops::matmul, {x, y}, a), matmul_scratch(n, m));
          a.ints[3] = 2;
          EXPECT_EQ(scratch_of(ops::matmul, {x, y}, a), matmul_scratch(n, m) + matmul_sums(d, n, m));
        }
      }
}

}  // namespace
}  // namespace terrace
