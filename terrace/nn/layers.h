// What transformers are put together from: layers that declare their parameters once and are applied as often as asked.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "terrace/nn/parameters.h"

namespace terrace::nn {

struct Linear {
  ValueId weight = kNone, bias = kNone;  ///< [outputs, inputs]; kNone: no bias
};
struct Norm {
  ValueId weight = kNone, bias = kNone;
  double eps = 1e-5;
};

enum class AttentionKind : std::uint8_t {
  flash,     ///< ops::flash_attention: scores are never written
  standard,  ///< products of matrices and a softmax: scores and weights [B, h, T, T] go through memory
};

class Layers {
 public:
  Layers(GraphBuilder& builder, DType dtype, double dropout) : b_(builder), dtype_(dtype), dropout_(dropout) {}
  const std::vector<Parameter>& parameters() const { return parameters_; }

  ValueId parameter(const std::string& name, Shape shape, double deviation, double constant = 0);
  /// Weight `name`, and bias `name`.bias.
  Linear linear(const std::string& name, i64 inputs, i64 outputs, double deviation, bool bias);
  /// Weight and bias of a layer norm: `name`.weight, `name`.bias.
  Norm norm(const std::string& name, i64 width, double eps = 1e-5);

  /// Whether norms give bf16 from now on, and what follows from them.
  void round(bool on) { rounds_ = on; }
  /// x w^T + b: of x's type, or of the parameters' if it is `last` before the residual stream.
  ValueId apply(const Linear& l, ValueId x, const std::string& name, bool last = false);
  ValueId apply(const Norm& n, ValueId x, const std::string& name);
  /// Each call draws numbers of its own from `step` (i32 [1]); kNone: x itself.
  ValueId drop(ValueId x, ValueId step);
  /// Of q, k, v [B, T, heads d] -> [B, T, heads d]; `step` drives the dropout of standard attention's weights.
  ValueId attention(ValueId q, ValueId k, ValueId v, i64 heads, bool causal, AttentionKind kind, ValueId step,
                    const std::string& name);

 private:
  GraphBuilder& b_;
  DType dtype_;
  double dropout_;
  std::vector<Parameter> parameters_;
  i64 drops_ = 0;
  bool rounds_ = false;
};

}  // namespace terrace::nn
