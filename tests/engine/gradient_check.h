// Gradients against central differences, all in float64, by the interpreter.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "support/random_graph.h"
#include "terrace/engine/interpreter.h"
#include "terrace/ops/gradient.h"

namespace terrace::testing {

inline TensorSpec f64(Shape s) { return {DType::f64, Layout::dense, s}; }
inline TensorSpec i32_spec(Shape s) { return {DType::i32, Layout::dense, s}; }

/// A graph of inputs "x0", "x1", ... (f64, differentiated) and "i0", ... (i32) with one result of any shape.
class GradientCheck {
 public:
  explicit GradientCheck(u64 seed) : random_(seed) {}

  /// An input of random numbers of size about `size`; `away` keeps them from zero by 1e-3 (kinks).
  ValueId x(Shape s, double size = 1, bool away = false) {
    const ValueId v = b.input("x" + std::to_string(wrt_.size()), f64(s));
    wrt(v, size, away);
    return v;
  }
  /// The same for an input or state that a model has declared.
  void wrt(ValueId v, double size, bool away = false) {
    std::vector<double> values(static_cast<std::size_t>(b.spec(v).bytes({}).count / 8));
    for (double& d : values) {
      d = size * static_cast<double>(random_.real());
      if (away && std::fabs(d) < 1e-3) d += 2e-3;
    }
    wrt_.push_back(v);
    add(v, values);
  }
  ValueId ids(Shape s, i64 below) {
    const ValueId v = b.input("i" + std::to_string(bound_.size()), i32_spec(s));
    std::vector<i32> values(static_cast<std::size_t>(b.spec(v).bytes({}).count / 4));
    for (i32& i : values) i = static_cast<i32>(random_.below(below));
    add(v, values);
    return v;
  }

  /// Norm-wise relative error of each input's gradient of a random weighting of y, against central differences.
  /// `frozen` gives the bytes of the graph's weights, which are not differentiated.
  void expect_gradient(ValueId y, double bound = 1e-6,
                       const std::function<std::vector<std::byte>(const Value&)>& frozen = {}) {
    const ValueId c = b.input("c", b.spec(y));
    std::vector<double> weights(static_cast<std::size_t>(b.spec(y).bytes({}).count / 8));
    for (double& d : weights) d = static_cast<double>(random_.real());
    add(c, weights);
    const ValueId loss = b.call(ops::mean, {b.call(ops::mul, {y, c})});
    b.output(loss);
    const std::vector<ValueId> gradients = terrace::gradients(b, loss, wrt_);
    const Graph g = b.finish();
    KernelTable kernels;
    register_reference(kernels);
    Interpreter run(g, kernels, [&](ValueId v) { return frozen(g.value(v)); });
    const auto evaluate = [&] {
      std::vector<InputBinding> in;
      for (const auto& [v, bytes] : bound_) {
        if (g.value(v).kind == ValueKind::input)
          in.push_back({v, bytes});
        else
          std::memcpy(run.state(v).data(), bytes.data(), bytes.size());
      }
      run.run({{}, in});
      return value(run, loss, 0);
    };
    evaluate();
    std::vector<std::vector<double>> analytic;
    for (ValueId v : gradients) {
      analytic.emplace_back();
      for (u64 i = 0; i < run.bytes(v).size() / 8; ++i) analytic.back().push_back(value(run, v, i));
    }
    for (std::size_t i = 0; i < wrt_.size(); ++i) {
      std::vector<std::byte>& bytes = bytes_of(wrt_[i]);
      double error = 0, norm = 0;
      for (std::size_t e = 0; e < analytic[i].size(); ++e) {
        double x = 0;
        std::memcpy(&x, bytes.data() + 8 * e, 8);
        const double h = 1e-5;
        const auto at = [&](double d) {
          std::memcpy(bytes.data() + 8 * e, &d, 8);
          return evaluate();
        };
        // Fourth order, so that the step's own error lies far below the bound.
        const double slope = (8 * (at(x + h) - at(x - h)) - (at(x + 2 * h) - at(x - 2 * h))) / (12 * h);
        at(x);
        error += (slope - analytic[i][e]) * (slope - analytic[i][e]);
        norm += slope * slope;
      }
      EXPECT_GT(norm, 0) << g.value(wrt_[i]).name << " does not matter";
      EXPECT_LE(std::sqrt(error), bound * std::sqrt(norm)) << g.value(wrt_[i]).name << ", norm " << std::sqrt(norm);
    }
  }

  GraphBuilder b;

 private:
  template <class T>
  void add(ValueId v, const std::vector<T>& values) {
    const auto* p = reinterpret_cast<const std::byte*>(values.data());
    bound_.emplace_back(v, std::vector<std::byte>(p, p + values.size() * sizeof(T)));
  }
  std::vector<std::byte>& bytes_of(ValueId v) {
    for (auto& [id, bytes] : bound_)
      if (id == v) return bytes;
    throw std::out_of_range("no such input");
  }
  static double value(const Interpreter& run, ValueId v, u64 i) {
    double d = 0;
    std::memcpy(&d, run.bytes(v).data() + 8 * i, 8);
    return d;
  }

  Random random_;
  std::vector<ValueId> wrt_;
  std::vector<std::pair<ValueId, std::vector<std::byte>>> bound_;
};

}  // namespace terrace::testing
