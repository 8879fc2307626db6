// GPT-2's architecture for training (Radford et al. 2019): learned positions, pre-norm blocks, GELU, tied output
// matrix.
#pragma once

#include "terrace/nn/loss.h"
#include "terrace/nn/transformer.h"

namespace terrace::nn {

struct GptConfig : TransformerConfig {
  i64 vocabulary = 256, context = 64;
};

/// Declares its parameters once; each call of logits() or loss() adds a pass forward over them.
class Gpt {
 public:
  /// Errors as Transformer.
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
  const std::vector<Parameter>& parameters() const { return t_.layers().parameters(); }

 private:
  ValueId embed(ValueId ids, ValueId places);
  ValueId hidden(ValueId ids, ValueId step);
  ValueId output(ValueId x);

  GraphBuilder& b_;
  GptConfig c_;
  Transformer t_;
  ValueId table_ = kNone, places_ = kNone;
  Norm last_norm_;
};

}  // namespace terrace::nn
