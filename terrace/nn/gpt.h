// GPT-2's architecture for training (Radford et al. 2019): learned positions, pre-norm blocks, GELU, tied output
// matrix; no biases of products.
#pragma once

#include "terrace/nn/transformer.h"

namespace terrace::nn {

struct GptConfig : TransformerConfig {
  i64 vocabulary = 256, context = 64;
};

/// Declares its parameters once; each call of logits() adds a pass forward over them.
class Gpt {
 public:
  /// Throws Error(usage) if the heads do not divide the width.
  Gpt(GraphBuilder& builder, const GptConfig& config);
  /// ids i32 [B, T], T at most the context -> [B, T, vocabulary]. `step` (i32 [1]) drives dropout; kNone: no dropout.
  ValueId logits(ValueId ids, ValueId step = kNone);
  /// For generating: ids i32 [n] at positions pos .. pos+n-1, keys and values kept in states "h.I.k_cache" and
  /// "h.I.v_cache" -> [1, vocabulary], of the last of them. Once for each builder.
  ValueId next(ValueId ids, SymbolId pos);
  const std::vector<Parameter>& parameters() const { return t_.parameters(); }

 private:
  ValueId embed(ValueId ids, ValueId places);
  ValueId output(ValueId x);

  GraphBuilder& b_;
  GptConfig c_;
  Transformer t_;
  ValueId table_ = kNone, places_ = kNone;
  Transformer::Norm last_norm_;
};

/// Mean cross-entropy of logits [.., V] for targets i32 [..]: [1].
ValueId mean_cross_entropy(GraphBuilder& b, ValueId logits, ValueId targets);

}  // namespace terrace::nn
