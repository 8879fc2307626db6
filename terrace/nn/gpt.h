// GPT-2's architecture for training (Radford et al. 2019): learned positions, pre-norm blocks, GELU, tied output
// matrix.
#pragma once

#include "terrace/nn/layers.h"
#include "terrace/nn/loss.h"

namespace terrace::nn {

struct GptConfig {
  i64 vocabulary = 256, context = 64, width = 128, heads = 4, layers = 4;
  double dropout = 0;
  bool biases = false;  ///< of the linear layers, as GPT-2 has them
  AttentionKind attention = AttentionKind::flash;
  DType dtype = DType::f32;  ///< f64 for checks by the interpreter
  /// bf16: of training's activations and their gradients, between the norms and the residual stream; parameters, their
  /// gradients, sums, statistics and the residual stream stay in f32 (docs/training.md).
  DType precision = DType::f32;
};

/// Declares its parameters once; each call of logits() adds a pass forward over them.
class Gpt {
 public:
  /// Throws Error(usage) if the heads do not divide the width, or for a precision other than f32 and, over f32 with
  /// flash attention and no biases, bf16.
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
  const std::vector<Parameter>& parameters() const { return layers_.parameters(); }

 private:
  struct Block {
    Norm norm1;
    Linear q, k, v, out;
    Norm norm2;
    Linear up, down;
  };
  using Attend = std::function<ValueId(ValueId q, ValueId k, ValueId v, const std::string& name)>;
  ValueId blocks(ValueId x, ValueId step, const Attend& attend);
  ValueId embed(ValueId ids, ValueId places);
  ValueId hidden(ValueId ids, ValueId step);
  ValueId output(ValueId x);

  GraphBuilder& b_;
  GptConfig c_;
  Layers layers_;
  ValueId table_ = kNone, places_ = kNone;
  Norm last_norm_;
  std::vector<Block> blocks_;
};

}  // namespace terrace::nn
