// BERT's encoder for training (Devlin et al. 2018, arXiv 1810.04805): learned positions, post-norm blocks with biases,
// GELU, and the masked-language-model head over a tied output matrix. Without segments and the output's bias.
#pragma once

#include "terrace/nn/layers.h"
#include "terrace/nn/loss.h"

namespace terrace::nn {

struct BertConfig {
  i64 vocabulary = 30522, context = 512, width = 768, heads = 12, layers = 12, ffn = 3072;
  double dropout = 0;  ///< after embeddings and branches, and of standard attention's weights
  AttentionKind attention = AttentionKind::flash;
  DType dtype = DType::f32;  ///< f64 for checks by the interpreter
};

class Bert {
 public:
  /// Throws Error(usage) if the heads do not divide the width.
  Bert(GraphBuilder& builder, const BertConfig& config);
  /// ids i32 [B, T], T at most the context -> [B, T, vocabulary]. `step` (i32 [1]) drives dropout; kNone: no dropout.
  ValueId logits(ValueId ids, ValueId step = kNone);
  /// Mean cross-entropy [1] of those logits for targets i32 [B, T], without the logits being there whole; `trains`:
  /// with gradients.
  ValueId loss(ValueId ids, ValueId targets, ValueId step, bool trains);
  const std::vector<Parameter>& parameters() const { return layers_.parameters(); }

 private:
  ValueId hidden(ValueId ids, ValueId step);
  struct Block {
    Linear q, k, v, out;
    Norm norm1;
    Linear up, down;
    Norm norm2;
  };
  GraphBuilder& b_;
  BertConfig c_;
  Layers layers_;
  ValueId table_ = kNone, places_ = kNone;
  Norm embedding_norm_, head_norm_;
  Linear head_;
  std::vector<Block> blocks_;
};

}  // namespace terrace::nn
