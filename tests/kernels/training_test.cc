// The training kernels that this processor can run, other than matrices and attention.
#include <array>

#include "kernels/fused_check_ops.h"
#include "terrace/kernels/half.h"

namespace terrace {
namespace {

using namespace training_check;

const KernelTable& table() {
  static const KernelTable t = cpu_kernels(best_isa());
  return t;
}
void expect(std::string_view op, const Case& c) { expect_kernels(table(), op, c); }
/// One operand of numbers in order, packed.
Operand numbers(std::vector<double> x, DType t = DType::f32) {
  return filled(t, {static_cast<i64>(x.size())}, [&](i64 i) { return x[static_cast<std::size_t>(i)]; });
}
/// What each kernel of `op` that takes f32 makes of a case, one after the other.
void each_result(std::string_view op, const Case& c, const std::function<void(std::vector<Operand>)>& look) {
  int found = 0;
  for (const Kernel& k : table().all())
    if (k.op == op && std::ranges::none_of(k.formats, [](const Format& f) { return f.dtype == DType::bf16; })) {
      SCOPED_TRACE(k.name);
      look(apply(k.fn, c, 1));
      ++found;
    }
  EXPECT_GE(found, 2) << op;
}

TEST(TrainingKernels, Elementwise) { expect_elementwise(table()); }
TEST(TrainingKernels, OlderOnesOverAnOperand) { expect_overlay_of_older(cpu_kernels(best_isa())); }
TEST(TrainingKernels, RopeBack) { expect_rope_back(table()); }
TEST(TrainingKernels, Bf16) { expect_bf16(table()); }
TEST(TrainingKernels, NormsToBf16) { expect_norms_to_bf16(table()); }
TEST(TrainingKernels, Norms) { expect_norms(table()); }
TEST(TrainingKernels, Sums) { expect_sums(table()); }
TEST(TrainingKernels, Loss) { expect_loss(table(), true); }
TEST(TrainingKernels, Dropout) { expect_dropout(table()); }
TEST(TrainingKernels, Casts) { expect_casts(table()); }
TEST(TrainingKernels, Optimizers) { expect_optimizers(table()); }
TEST(TrainingKernels, OptimizerParts) { expect_optimizer_parts(table()); }
TEST(TrainingKernels, CausalSoftmax) { expect_causal_softmax(table()); }
TEST(TrainingKernels, Heads) { expect_heads(table()); }
TEST(TrainingKernels, AddAndNorm) { expect_add_norms(table()); }
TEST(TrainingKernels, NormGradientAndAdd) { expect_norm_grad_add(table()); }
TEST(TrainingKernels, BiasAndActivation) { expect_bias_activations(table()); }

TEST(TrainingKernels, FillAndSpread) {
  std::mt19937 rng(20);
  for (const Dims& d : kShapes) {
    Case c{{random_operand(rng, d)}, {empty(d)}};
    c.floats[0] = 0.1;
    c.tolerance = 1e-7;
    expect("fill", c);
    c.in.push_back(numbers({-3.25}));
    expect("spread", c);
  }
}

TEST(TrainingKernels, ScatterRows) {
  std::mt19937 rng(21);
  for (const i64 k : {1, 5, 16, 33, 100})
    for (const Dims& ids : {Dims{1}, {40}, {3, 7}, {0}}) {
      Dims rows = ids;
      rows.push_back(k);
      Case c{{empty({11, k}),
              filled(
                  DType::i32, ids, [](i64 i) { return static_cast<double>(i * i % 9); }, 4),
              random_operand(rng, rows)},
             {empty({11, k})}};
      c.tolerance = 2e-6;
      expect("scatter_rows", c);
    }
}

TEST(TrainingKernels, TakeRowsByMatricesOfIds) {
  std::mt19937 rng(22);
  Case c{{random_operand(rng, {11, 6}), filled(
                                            DType::i32, {3, 4}, [](i64 i) { return static_cast<double>(i % 11); }, 8)},
         {empty({3, 4, 6})}};
  expect("take_rows", c);
}

TEST(TrainingKernels, SliceAndPad) {
  std::mt19937 rng(23);
  for (const DType t : {DType::f32, DType::bf16, DType::f64})
    for (const Dims& d : {Dims{7}, {7, 5}, {2, 7, 3}, {3, 2, 5, 7}})
      for (std::size_t axis = 0; axis < d.size(); ++axis)
        for (const auto& [begin, count] : {std::array<i64, 2>{0, d[axis]}, {0, 1}, {1, d[axis] - 1}}) {
          Dims cut = d;
          cut[axis] = count;
          Case c{{filled(
                     t, d, [&](i64) { return static_cast<double>(rng() % 100); }, 8)},
                 {empty(cut, t, 16)}};
          c.ints[0] = static_cast<i64>(axis);
          c.ints[1] = begin;
          c.ints[2] = count;
          expect("slice", c);
          Case back{{filled(
                        t, cut, [&](i64) { return static_cast<double>(rng() % 100); }, 8)},
                    {empty(d, t, 16)}};
          std::copy(c.ints, c.ints + 2, back.ints);
          back.ints[2] = d[axis];
          expect("pad", back);
        }
}

TEST(TrainingKernels, Concat) {
  std::mt19937 rng(24);
  for (const Dims& d : {Dims{7}, {7, 5}, {2, 7, 3}, {3, 2, 5, 7}})
    for (std::size_t axis = 0; axis < d.size(); ++axis) {
      Dims other = d, both = d;
      other[axis] = 4;
      both[axis] += 4;
      Case c{{random_operand(rng, d), random_operand(rng, other)}, {empty(both)}};
      c.ints[0] = static_cast<i64>(axis);
      expect("concat", c);
    }
}

TEST(TrainingKernels, Transpose) {
  std::mt19937 rng(25);
  for (const DType t : {DType::f32, DType::bf16, DType::f64})
    for (const Dims& d : {Dims{7}, {70, 45}, {3, 65, 4}, {3, 2, 33, 5}, {2, 1, 1, 3}}) {
      std::vector<i64> order(d.size());
      for (std::size_t i = 0; i < d.size(); ++i) order[i] = static_cast<i64>(i);
      do {
        Dims turned;
        Case c{{filled(
                   t, d, [&](i64) { return static_cast<double>(rng() % 200); }, 8)},
               {}};
        for (std::size_t i = 0; i < d.size(); ++i) {
          turned.push_back(d[static_cast<std::size_t>(order[i])]);
          c.ints[0] |= order[i] << (4 * i);
        }
        c.out.push_back(empty(turned, t, 16));
        expect("transpose", c);
      } while (std::next_permutation(order.begin(), order.end()));
    }
}

struct Windows {
  Dims image;
  i64 size, stride, zeros;
};
constexpr auto windows_of = [](i64 extent, const Windows& w) { return (extent + 2 * w.zeros - w.size) / w.stride + 1; };

TEST(TrainingKernels, PatchesAndFold) {
  std::mt19937 rng(26);
  for (const Windows& w : {Windows{{2, 28, 28, 1}, 7, 7, 0},
                           {{2, 8, 9, 3}, 3, 1, 1},
                           {{1, 5, 4, 17}, 3, 2, 2},
                           {{9, 6, 6, 40}, 2, 2, 0},
                           {{1, 3, 3, 2}, 3, 1, 2},
                           {{1, 5, 5, 2}, 2, 3, 0}}) {
    const Dims p = {w.image[0], windows_of(w.image[1], w) * windows_of(w.image[2], w), w.size * w.size * w.image[3]};
    Case c{{random_operand(rng, w.image)}, {empty(p)}};
    c.ints[0] = w.size;
    c.ints[1] = w.stride;
    c.ints[2] = w.zeros;
    expect("patches", c);
    Case back{{random_operand(rng, p)}, {empty(w.image)}};
    std::copy(c.ints, c.ints + 3, back.ints);
    back.ints[3] = w.image[1] << 32 | w.image[2];
    back.tolerance = 1e-6;
    expect("fold", back);
  }
}

TEST(TrainingKernels, Pools) {
  std::mt19937 rng(27);
  for (const Windows& w : {Windows{{2, 8, 8, 3}, 2, 2, 0},
                           {{9, 7, 6, 5}, 3, 2, 0},
                           {{1, 6, 5, 40}, 3, 1, 0},
                           {{2, 4, 4, 1}, 4, 1, 0},
                           {{1, 5, 5, 2}, 1, 3, 0}}) {
    const Dims pooled = {w.image[0], windows_of(w.image[1], w), windows_of(w.image[2], w), w.image[3]};
    // Few different numbers, so that maxima are equal.
    const Operand x = filled(
        DType::f32, w.image, [&](i64) { return static_cast<double>(rng() % 5) - 2; }, 8);
    for (const char* kind : {"mean_pool", "max_pool"}) {
      Case c{{x}, {empty(pooled)}};
      c.ints[0] = w.size;
      c.ints[1] = w.stride;
      c.tolerance = 1e-6;
      expect(kind, c);
      c.in.push_back(random_operand(rng, pooled));
      c.out[0] = empty(w.image);
      expect(std::string(kind) + "_grad", c);
    }
  }
}

TEST(TrainingKernels, Steps) {
  std::mt19937 rng(28);
  Case sum{{
               random_operand(rng, {1001}),
           },
           {empty({1})}};
  sum.tolerance = 1e-6;
  expect("total", sum);
  Case next{{numbers({41}, DType::i32)}, {numbers({0}, DType::i32)}};
  next.in_place = 1;
  expect("advance", next);
  for (const double step : {0, 8, 9, 10, 55, 99, 100, 5000})
    for (const i64 warm_up : {0, 10}) {
      Case c{{numbers({step}, DType::i32)}, {empty({4})}};
      c.ints[0] = warm_up;
      c.ints[1] = 100;
      c.set_floats({1e-3, 1e-4, 0.9, 0.999});
      c.tolerance = 1e-7;
      expect("learning_rate", c);
    }
  for (const double squares : {0.0, 0.25, 1.0, 100.0, HUGE_VAL}) {
    Case c{{numbers({1, 2, 3, 9}), numbers({squares})}, {empty({4})}};
    c.floats[0] = 1;
    c.tolerance = 1e-7;
    expect("clip", c);
  }
}

/// nanoGPT's schedule and torch's clipping by hand.
TEST(TrainingKernels, StepsByHand) {
  for (const auto& [step, rate] : {std::array{0.0, 0.1}, {9.0, 1.0}, {54.0, 0.55}, {99.0, 0.1}, {5000.0, 0.1}}) {
    Case c{{numbers({step}, DType::i32)}, {empty({4})}};
    c.ints[0] = 10;
    c.ints[1] = 100;
    c.set_floats({1, 0.1, 0.5, 0.75});
    each_result("learning_rate", c, [&](std::vector<Operand> out) {
      EXPECT_NEAR(out[0].at(0), rate, 1e-7);
      if (step == 0) {
        EXPECT_NEAR(out[0].at(1), 2, 1e-6);  // 1 / (1 - 0.5)
        EXPECT_NEAR(out[0].at(2), 4, 1e-6);  // 1 / (1 - 0.75)
      }
    });
  }
  Case c{{numbers({1, 2, 3, 1}), numbers({16})}, {empty({4})}};
  c.floats[0] = 1;
  each_result("clip", c, [](std::vector<Operand> out) { EXPECT_NEAR(out[0].at(3), 0.25, 1e-6); });
}

/// One step of AdamW from zero moments goes lr against the gradient's sign, after the decay.
TEST(TrainingKernels, AdamWByHand) {
  const Operand w = numbers({2, 2}), zero = numbers({0, 0});
  Case c{{w, zero, zero, numbers({5, -0.5}), numbers({0.1, 10, 1000, 1})}, {w, zero, zero}};
  c.in_place = 3;
  c.set_floats({0.9, 0.999, 1e-12, 0.5});
  each_result("adamw", c, [](std::vector<Operand> out) {
    EXPECT_NEAR(out[0].at(0), 2 - 0.1 * 0.5 * 2 - 0.1, 1e-6);
    EXPECT_NEAR(out[0].at(1), 2 - 0.1 * 0.5 * 2 + 0.1, 1e-6);
    EXPECT_NEAR(out[1].at(0), 0.5, 1e-6);
    EXPECT_NEAR(out[2].at(0), 0.025, 1e-7);
  });
}

/// Known answers of Philox4x32-10 (Random123's kat_vectors), read off by which elements stay at which threshold.
TEST(TrainingKernels, DropoutIsPhilox) {
  const auto kept = [](i64 key, double step, double p, i64 e) {
    bool first = true, all = false;
    Case c{{filled(DType::f32, {e + 1}, [](i64) { return 1; }), numbers({step}, DType::i32)}, {empty({e + 1})}};
    c.ints[0] = key;
    c.floats[0] = p;
    each_result("dropout", c, [&](std::vector<Operand> out) {
      const bool is = out[0].at(e) != 0;
      if (first) all = is;
      EXPECT_EQ(is, all);
      first = false;
    });
    return all;
  };
  // Counter 0, key 0.
  const u32 words[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  for (i64 e = 0; e < 4; ++e) {
    EXPECT_TRUE(kept(0, 0, words[e] * 0x1p-32, e)) << e;
    EXPECT_FALSE(kept(0, 0, (words[e] + 1.0) * 0x1p-32, e)) << e;
  }
}

/// By hand: the first of equal ones, the last column, a NaN anywhere, targets that are no column.
TEST(TrainingKernels, CorrectIsWhereTheFirstLargestIsTheTarget) {
  struct Row {
    std::vector<double> logits;
    double target, right;
  };
  const Row rows[] = {{{1, 3, 3}, 1, 1}, {{1, 3, 3}, 2, 0},   {{-5, -6, -4}, 2, 1},    {{7, 6, 5}, 0, 1},
                      {{7, 6, 5}, 1, 0}, {{NAN, 1, 2}, 2, 0}, {{NAN, 1, 2}, 0, 0},     {{3, NAN, 2}, 0, 0},
                      {{1, 2, 3}, 3, 0}, {{1, 2, 3}, -1, 0},  {{1, 2, INFINITY}, 2, 1}};
  const i64 n = std::size(rows);
  Case c{{filled(DType::f32, {n, 3}, [&](i64 i) { return rows[i / 3].logits[static_cast<std::size_t>(i % 3)]; }),
          filled(DType::i32, {n}, [&](i64 i) { return rows[i].target; })},
         {empty({n})}};
  each_result("correct", c, [&](std::vector<Operand> out) {
    for (i64 i = 0; i < n; ++i) EXPECT_EQ(out[0].at(i), rows[i].right) << "row " << i;
  });
}

/// Targets that are no column, and ids that are no row, touch nothing that is not theirs.
TEST(TrainingKernels, WrongIds) {
  for (const double wrong : {-1.0, 3.0, 2147483647.0, -2147483648.0}) {
    Case loss{{filled(DType::f32, {1, 3}, [](i64 i) { return static_cast<double>(i); }), numbers({wrong}, DType::i32)},
              {empty({1}), empty({1})}};
    Case grad{{loss.in[0], loss.in[1], numbers({2.4076059}), numbers({1})}, {empty({1, 3})}};
    Case rows{{empty({3, 2}), numbers({wrong}, DType::i32), filled(DType::f32, {1, 2}, [](i64) { return 1; })},
              {empty({3, 2})}};
    for (const Kernel& k : table().all()) {
      if (k.isa == Isa::reference) continue;
      SCOPED_TRACE(k.name);
      if (k.op == "cross_entropy") {
        std::vector<Operand> out = apply(k.fn, loss, 1);
        EXPECT_TRUE(std::isnan(out[0].at(0)));
        EXPECT_NEAR(out[1].at(0), 2.4076059, 1e-6);
      } else if (k.op == "cross_entropy_grad") {
        Operand out = apply(k.fn, grad, 1)[0];
        EXPECT_NEAR(out.at(0) + out.at(1) + out.at(2), 1, 1e-6);
        expect_untouched_gaps(out);
      } else if (k.op == "scatter_rows") {
        Operand out = apply(k.fn, rows, 1)[0];
        for (i64 i = 0; i < 6; ++i) EXPECT_EQ(out.at(i), 0);
        expect_untouched_gaps(out);
      }
    }
  }
}

}  // namespace
}  // namespace terrace
