// GPT-2's architecture for training (Radford et al. 2019): learned positions, pre-norm blocks, GELU, tied output
// matrix.
#pragma once

#include "terrace/nn/loss.h"
#include "terrace/nn/parameters.h"

namespace terrace::nn {

struct GptConfig {
  i64 vocabulary = 256, context = 64, width = 128, heads = 4, layers = 4;
  double dropout = 0;
  DType dtype = DType::f32;  ///< f64 for checks by the interpreter
  /// bf16: of training's activations and their gradients, between the norms and the residual stream; parameters, their
  /// gradients, sums, statistics and the residual stream stay in f32 (docs/training.md).
  DType precision = DType::f32;
};

/// Declares its parameters once; each call of logits() adds a pass forward over them.
class Gpt {
 public:
  /// Throws Error(usage) if the heads do not divide the width, or for a precision other than f32 and, over f32, bf16.
  Gpt(GraphBuilder& builder, const GptConfig& config);
  /// ids i32 [B, T], T at most the context -> [B, T, vocabulary], of type dtype. `step` (i32 [1]) drives dropout;
  /// kNone: no dropout.
  ValueId logits(ValueId ids, ValueId step = kNone);
  /// Mean cross-entropy [1] of those logits for targets i32 [B, T], without the logits being there whole; `trains`:
  /// with gradients.
  ValueId loss(ValueId ids, ValueId targets, ValueId step, bool trains);
  /// For generating, in dtype: ids i32 [n] at positions pos .. pos+n-1, keys and values kept in states "h.I.k_cache"
  /// and "h.I.v_cache" -> [1, vocabulary], of the last of them. Once for each builder.
  ValueId next(ValueId ids, SymbolId pos);
  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  ValueId parameter(const std::string& name, Shape shape, double deviation, double constant = 0);
  struct Block {
    ValueId norm1[2], q, k, v, out, norm2[2], up, down;
  };
  using Attend = std::function<ValueId(ValueId q, ValueId k, ValueId v, const std::string& name)>;
  ValueId blocks(ValueId x, ValueId step, const Attend& attend);
  ValueId embed(ValueId ids, ValueId places);
  ValueId hidden(ValueId ids, ValueId step);
  ValueId output(ValueId x);
  Attrs heads() const;
  /// x w^T: of x's type, or of dtype if it is `last` before the residual stream.
  ValueId product(ValueId x, ValueId w, const std::string& name, bool last = false);
  ValueId norm(ValueId x, const ValueId (&w)[2], const std::string& name);
  ValueId drop(ValueId x, ValueId step);

  GraphBuilder& b_;
  GptConfig c_;
  std::vector<Parameter> parameters_;
  ValueId table_ = kNone, places_ = kNone, last_norm_[2] = {kNone, kNone};
  std::vector<Block> blocks_;
  i64 drops_ = 0;
  bool rounds_ = false;  ///< norms give bf16
};

}  // namespace terrace::nn
