// A small Vision Transformer (Dosovitskiy et al. 2020, arXiv 2010.11929): an image's patches as tokens with learned
// positions, blocks with biases that attend both ways, and the mean over tokens instead of a class token (Beyer et al.
// 2022, arXiv 2205.01580).
#pragma once

#include "terrace/nn/transformer.h"

namespace terrace::nn {

struct VitConfig : TransformerConfig {
  VitConfig() { biases = true; }
  i64 size = 28, channels = 1;  ///< images are [size, size, channels]
  i64 patch = 4;                ///< each token is a patch of [patch, patch, channels]
  i64 classes = 10;
};

/// Declares its parameters once; each call of logits() adds a pass forward over them.
class Vit {
 public:
  /// Errors as Transformer; Error(usage) if the patches do not divide the image.
  Vit(GraphBuilder& builder, const VitConfig& config);
  /// images [B, size, size, channels] -> [B, 1, 1, classes]. `step` (i32 [1]) drives dropout; kNone: no dropout.
  ValueId logits(ValueId images, ValueId step = kNone);
  const std::vector<Parameter>& parameters() const { return t_.layers().parameters(); }

 private:
  GraphBuilder& b_;
  VitConfig c_;
  Transformer t_;
  ValueId places_ = kNone;
  Linear embed_, head_;
  Norm last_norm_;
};

}  // namespace terrace::nn
