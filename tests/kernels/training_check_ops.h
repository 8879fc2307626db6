// The cases of training_check.h for the ops that have vector kernels.
#pragma once

#include "kernels/training_check.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::training_check {

inline const std::vector<Dims> kShapes = {{1, 1},    {3, 5},    {17, 64}, {2, 3, 31},   {5, 100},
                                          {1, 1537}, {130, 17}, {1000},   {2, 2, 3, 7}, {0, 8}};

inline Dims last_of(const Dims& d) { return {d.back()}; }
inline Dims but_last(const Dims& d) { return Dims(d.begin(), d.end() - 1); }
inline Dims with_last(Dims d, i64 k) {
  d.back() = k;
  return d;
}

inline void expect_elementwise(const KernelTable& table) {
  std::mt19937 rng(1);
  for (const char* op : {"scale", "relu", "gelu"})
    for (const Dims& d : kShapes) {
      Case c{{random_operand(rng, d, 3)}, {empty(d)}};
      c.floats[0] = -0.37;
      c.tolerance = 1e-6;
      expect_kernels(table, op, c);
    }
  for (const char* op : {"sub", "div", "relu_grad", "gelu_grad", "silu_grad", "accumulate"})
    for (const Dims& d : kShapes) {
      Case c{{random_operand(rng, d, 3), random_operand(rng, d, 1)}, {empty(d)}};
      c.in_place = op == std::string("accumulate") ? 1 : 0;
      c.tolerance = 1e-6;
      expect_kernels(table, op, c);
    }
  // Far out, where exp overflows and underflows; the kink; NaN.
  const double far[] = {-1e30, -300, -104, -88.7, -20, -9, -1e-30, 0, -0.0, 1e-30, 9, 20, 88.8, 300, 1e30, NAN};
  for (const char* op : {"relu", "gelu"}) {
    Case c{{filled(DType::f32, {16}, [&](i64 i) { return far[i]; })}, {empty({16})}};
    c.tolerance = 1e-6;
    if (op == std::string("gelu")) expect_kernels(table, op, c);
    for (const Kernel& k : table.all())
      if (k.op == op && k.isa != Isa::reference && k.formats[0].dtype == DType::f32) {
        EXPECT_TRUE(std::isnan(apply(k.fn, c, 1)[0].at(15))) << k.name;
      }
    c.in[0].put(15, 1);
    expect_kernels(table, op, c);
  }
  for (const char* op : {"relu_grad", "gelu_grad", "silu_grad"}) {
    Case c{{filled(DType::f32, {15}, [&](i64 i) { return far[i]; }), random_operand(rng, {15})}, {empty({15})}};
    if (op != std::string("silu_grad")) c.in[0].put(0, -1e10), c.in[0].put(14, 1e10);  // the reference's own x^3
    c.tolerance = 1e-6;
    expect_kernels(table, op, c);
  }
}

/// The older kernels, whose own tests do not know of results on the bytes of an operand.
inline void expect_overlay_of_older(const KernelTable& table) {
  std::mt19937 rng(4);
  for (const Dims& d : kShapes) {
    Case c{{random_operand(rng, d, 3), random_operand(rng, d, 1)}, {empty(d)}};
    c.floats[0] = 1e-5;
    c.tolerance = 1e-5;
    for (const char* op : {"add", "mul", "silu_mul"}) expect_kernels(table, op, c);
    c.in[1] = random_operand(rng, last_of(d));
    expect_kernels(table, "rms_norm", c);
    c.in.pop_back();
    for (const char* op : {"silu", "softmax"}) expect_kernels(table, op, c);
  }
}

/// A bf16 result may fall on the other side of a rounding: half of its last place, which is 2^-8 of it at most.
inline constexpr double kRounding = 0x1p-7;

inline void expect_bf16(const KernelTable& table) {
  std::mt19937 rng(9);
  const double far[] = {-1e30, -300, -104, -88.5, -20, -9, -1e-30, 0, -0.0, 1e-30, 9, 20, 88.5, 300, 1e30};
  for (const Dims& d : kShapes) {
    const Operand x = halved(random_operand(rng, d, 3)), y = halved(random_operand(rng, d)),
                  out = empty(d, DType::bf16, 16);
    for (const char* op : {"relu", "gelu", "silu"}) {
      Case c{{x}, {out}};
      c.tolerance = kRounding;
      expect_kernels(table, op, c);
    }
    for (const char* op : {"add", "mul", "relu_grad", "gelu_grad", "silu_grad", "silu_mul"}) {
      Case c{{x, y}, {out}};
      c.tolerance = kRounding;
      expect_kernels(table, op, c);
    }
    Case sum{{x}, {empty(last_of(d))}};
    sum.ints[0] = 1;
    sum.tolerance = 3e-5;
    expect_kernels(table, "sum_rows", sum);
  }
  for (const char* op : {"relu", "gelu", "silu"}) {
    Case c{{filled(DType::bf16, {15}, [&](i64 i) { return far[i]; })}, {empty({15}, DType::bf16)}};
    c.tolerance = kRounding;
    expect_kernels(table, op, c);
  }
}

inline void expect_norms_to_bf16(const KernelTable& table) {
  std::mt19937 rng(10);
  for (const Dims& d : kShapes)
    for (const i64 centred : {0, 1}) {
      const Operand x = random_operand(rng, d, 3), dy = halved(random_operand(rng, d));
      const Operand w = random_operand(rng, last_of(d)), b = random_operand(rng, last_of(d));
      Case norm{{x, w}, {empty(d, DType::bf16, 16)}};
      if (centred == 1) norm.in.push_back(b);
      norm.floats[0] = 0.1;
      norm.ints[0] = 2;
      norm.tolerance = kRounding;
      expect_kernels(table, centred == 1 ? "layer_norm" : "rms_norm", norm);
      Case stats{{x}, {empty(with_last(d, 2))}};
      stats.ints[0] = centred;
      stats.floats[0] = 0.1;
      const Operand known = apply(reference::norm_stats, stats, 1)[0];
      Case grad{{x, w, known, dy}, {empty(d)}};
      grad.ints[0] = centred;
      grad.tolerance = 3e-6;
      expect_kernels(table, "norm_grad", grad);
      Case grad_weight{{x, known, dy}, {empty(last_of(d))}};
      grad_weight.tolerance = 2e-5;
      expect_kernels(table, "norm_grad_weight", grad_weight);
    }
}

/// Both directions; more rows than positions where x is a batch.
inline void expect_rope_back(const KernelTable& table) {
  std::mt19937 rng(2);
  for (const Dims& d : {Dims{5, 36}, {3, 5, 36}, {2, 5, 12}})
    for (const i64 inverse : {0, 1}) {
      Case c{{random_operand(rng, d), random_operand(rng, {5, 10})}, {empty(d)}};
      c.ints[0] = 12;
      c.ints[1] = inverse;
      c.tolerance = 1e-6;
      expect_kernels(table, "rope", c);
    }
}

inline void expect_norms(const KernelTable& table) {
  std::mt19937 rng(3);
  for (const Dims& d : kShapes)
    for (const i64 centred : {0, 1}) {
      Operand x = random_operand(rng, d, 3);
      for (i64 i = 0; i < x.count(); ++i) x.put(i, x.at(i) + 5);
      const Operand dy = random_operand(rng, d), w = random_operand(rng, last_of(d)),
                    b = random_operand(rng, last_of(d));
      const double eps = d.back() == 1 ? 0.1 : 1e-5;  // one column has no variance
      Case stats{{x}, {empty(with_last(d, 2))}};
      stats.ints[0] = centred;
      stats.floats[0] = eps;
      stats.tolerance = 1e-6;
      expect_kernels(table, "norm_stats", stats);
      if (centred == 1) {
        Case norm{{x, w, b}, {empty(d)}};
        norm.floats[0] = eps;
        norm.tolerance = 4e-6;
        expect_kernels(table, "layer_norm", norm);
      }
      const Operand known = apply(reference::norm_stats, stats, 1)[0];
      Case grad{{x, w, known, dy}, {empty(d)}};
      grad.ints[0] = centred;
      grad.tolerance = 3e-6;
      expect_kernels(table, "norm_grad", grad);
      Case grad_weight{{x, known, dy}, {empty(last_of(d))}};
      grad_weight.tolerance = 2e-5;
      expect_kernels(table, "norm_grad_weight", grad_weight);
    }
  for (const Dims& d : kShapes) {
    Case c{{filled(
                DType::f32, d, [&](i64 i) { return 1.0 / static_cast<double>(3 + i % 11); }, 4),
            random_operand(rng, d)},
           {empty(d)}};
    c.tolerance = 3e-6;
    expect_kernels(table, "softmax_grad", c);
  }
}

/// [.., n, m], where rows see all, some or no columns.
inline void expect_causal_softmax(const KernelTable& table) {
  std::mt19937 rng(9);
  for (const Dims& d : {Dims{1, 1}, {7, 7}, {2, 3, 5, 70}, {2, 70, 5}, {33, 100}, {0, 8}}) {
    Case c{{random_operand(rng, d, 3)}, {empty(d)}};
    c.tolerance = 1e-6;
    expect_kernels(table, "causal_softmax", c);
  }
}

inline void expect_heads(const KernelTable& table) {
  std::mt19937 rng(10);
  for (const Dims& d : {Dims{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 2, 1, 16}, {1, 12, 9, 64}}) {
    const Dims merged = {d[0], d[2], d[1] * d[3]};
    Case split{{random_operand(rng, merged)}, {empty(d)}};
    split.ints[0] = d[1];
    split.tolerance = 1e-30;
    expect_kernels(table, "split_heads", split);
    Case merge{{random_operand(rng, d)}, {empty(merged)}};
    merge.tolerance = 1e-30;
    expect_kernels(table, "merge_heads", merge);
  }
}

inline void expect_sums(const KernelTable& table) {
  std::mt19937 rng(4);
  std::vector<Dims> shapes = kShapes;
  for (const Dims& d : {Dims{63, 700}, {64, 513}, {65, 20}, {257, 3}, {3, 16384}, {2, 16385}, {40000}, {700, 100}})
    shapes.push_back(d);
  for (const Dims& d : shapes) {
    Case add{{random_operand(rng, d), random_operand(rng, last_of(d))}, {empty(d)}};
    add.tolerance = 1e-7;
    expect_kernels(table, "add_row", add);
    Case sum{{random_operand(rng, d)}, {empty(last_of(d))}};
    sum.tolerance = 3e-5;
    expect_kernels(table, "sum_rows", sum);
    Case mean{{random_operand(rng, d)}, {empty({1})}};
    mean.tolerance = 1e-6;
    expect_kernels(table, "mean", mean);
    Case squares{{random_operand(rng, d)}, {}};
    squares.out.push_back(empty({(squares.in[0].count() + 16383) / 16384}));
    squares.tolerance = 1e-6;
    expect_kernels(table, "square_sums", squares);
  }
}

/// `with_correct`: the table has plain kernels too.
inline void expect_loss(const KernelTable& table, bool with_correct) {
  std::mt19937 rng(5);
  for (const Dims& d : {Dims{1, 1}, {5, 3}, {2, 3, 65}, {4, 1000}, {3, 50257}, {0, 8}}) {
    Operand x = random_operand(rng, d, 8);
    const i64 k = d.back();
    const Operand targets = filled(
        DType::i32, but_last(d), [&](i64 i) { return static_cast<double>(i * 7919 % k); }, 4);
    if (x.count() > 12) {
      for (i64 c = 0; c < k; ++c) x.put(k + c, -200 - static_cast<double>(c % 7));  // all far below zero
      x.put(2 * k + 1, 500);                                                        // one alone counts
      x.put(2 * k + 2, -INFINITY);
    }
    Case c{{x, targets}, {empty(but_last(d)), empty(but_last(d))}};
    c.tolerance = 1e-6;
    expect_kernels(table, "cross_entropy", c);
    const Operand lse = apply(reference::cross_entropy, c, 1)[1];
    Case grad{{x, targets, lse, random_operand(rng, but_last(d))}, {empty(d)}};
    grad.tolerance = 4e-5;  // lse is a float: 500 has an error of 3e-5, so p has
    expect_kernels(table, "cross_entropy_grad", grad);
    for (i64 i = 0; i + 1 < x.count() / k; ++i) x.put(i * k + i * 7919 % k, i % 2 == 0 ? 600 : 3);  // the target's
    if (x.count() > 12) x.put(k, NAN), x.put(0, 600), x.put(k - 1, 600);
    if (with_correct) {
      Case correct{{x, targets}, {empty(but_last(d))}};
      correct.tolerance = 0;
      expect_kernels(table, "correct", correct);
    }
  }
}

inline void expect_dropout(const KernelTable& table) {
  std::mt19937 rng(6);
  for (const Dims& d : kShapes)
    for (const double p : {0.0, 0.1, 0.5, 0.9999}) {
      Case c{{random_operand(rng, d), filled(DType::i32, {1}, [](i64) { return 41; })}, {empty(d)}};
      c.ints[0] = 0x123456789abcdef;
      c.floats[0] = p;
      c.tolerance = 1e-6;
      expect_kernels(table, "dropout", c);
    }
}

inline void expect_casts(const KernelTable& table) {
  std::mt19937 rng(7);
  for (const Dims& d : kShapes) {
    Case c{{random_operand(rng, d)}, {empty(d, DType::bf16, 2)}};
    if (c.in[0].count() > 0) c.in[0].put(0, 1.00390625);  // a tie: to the even one
    if (c.in[0].count() > 4)
      c.in[0].put(1, 1.01171875), c.in[0].put(2, NAN), c.in[0].put(3, 3.4e38), c.in[0].put(4, -0.0);
    c.ints[0] = 1;
    expect_kernels(table, "cast", c);
    Case back{{apply(reference::cast, c, 1)[0]}, {empty(d)}};
    expect_kernels(table, "cast", back);
  }
}

inline void expect_optimizers(const KernelTable& table) {
  std::mt19937 rng(8);
  const Operand rate = filled(DType::f32, {4}, [](i64 i) { return std::vector{1e-2, 10.0, 1000.0, 0.5}[i]; });
  for (const Dims& d : kShapes) {
    const Operand w = random_operand(rng, d), m = random_operand(rng, d, 0.1), g = random_operand(rng, d);
    const Operand v = filled(
        DType::f32, d, [&](i64 i) { return 1e-4 * static_cast<double>(i % 5); }, 8);
    Case adamw{{w, m, v, g, rate}, {w, m, v}};
    adamw.in_place = 3;
    adamw.set_floats({0.9, 0.999, 1e-8, 0.1});
    adamw.tolerance = 1e-6;
    expect_kernels(table, "adamw", adamw);
    Case sgd{{w, m, g, rate}, {w, m}};
    sgd.in_place = 2;
    sgd.floats[0] = 0.9;
    sgd.floats[1] = 0.01;
    sgd.tolerance = 1e-6;
    expect_kernels(table, "sgd", sgd);
  }
}

inline void expect_optimizer_parts(const KernelTable& table) {
  std::mt19937 rng(11);
  const Operand rate = filled(DType::f32, {4}, [](i64 i) { return std::vector{1e-2, 10.0, 1000.0, 0.5}[i]; });
  for (const Dims& d : kShapes) {
    const Operand x = random_operand(rng, d), y = random_operand(rng, d);
    Operand positive = random_operand(rng, d);
    for (i64 i = 0; i < positive.count(); ++i) positive.put(i, std::fabs(positive.at(i)) + 0.1);
    const auto expect = [&](const char* op, std::vector<Operand> in, int in_place) {
      Case c{in, {empty(d)}};
      c.in.push_back(rate);
      c.in_place = in_place;
      if (in_place > 0) c.out[0] = in[0];
      c.set_floats({0.3, 0.7});
      c.tolerance = 1e-6;
      expect_kernels(table, op, c);
    };
    expect("rescale", {x}, 1);
    expect("blend", {x, y}, 1);
    expect("add_square", {x, y}, 1);
    expect("root", {positive}, 0);
    expect("descend", {x, y, positive}, 1);
  }
}

}  // namespace terrace::training_check
