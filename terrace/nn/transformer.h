// What GPT-2 (Radford et al. 2019) and ViT (Dosovitskiy et al. 2020) have in common: pre-norm transformer blocks,
// x + attention(norm(x)), then x + down(gelu(up(norm(x)))), up to four times the width.
#pragma once

#include "terrace/nn/layers.h"

namespace terrace::nn {

struct TransformerConfig {
  i64 width = 128, heads = 4, layers = 4;
  double dropout = 0;
  bool biases = false;  ///< of the linear layers
  AttentionKind attention = AttentionKind::flash;
  DType dtype = DType::f32;  ///< f64 for checks by the interpreter
  /// bf16: of training's activations and their gradients, between the norms and the residual stream; parameters, their
  /// gradients, sums, statistics and the residual stream stay in f32 (docs/training.md).
  DType precision = DType::f32;
};

class Transformer {
 public:
  /// Declares nothing yet. Throws Error(usage) if the heads do not divide the width, or for a precision other than f32
  /// and, over f32 with flash attention and no biases, bf16.
  Transformer(GraphBuilder& builder, const TransformerConfig& config);
  Layers& layers() { return layers_; }
  const Layers& layers() const { return layers_; }

  /// Parameters "h.I.*" of all blocks. Matrices begin with this deviation; those whose products are added to the
  /// residual stream with 1 / sqrt(2 layers) of it.
  void declare_blocks(double deviation);
  using Attend = std::function<ValueId(ValueId q, ValueId k, ValueId v, const std::string& name)>;
  /// x [.., T, width] through all blocks.
  ValueId blocks(ValueId x, ValueId step, const Attend& attend);
  /// For blocks(): attention among all T places, or, causal, of each to itself and those before it.
  Attend attention(bool causal, ValueId step);

 private:
  struct Block {
    Norm norm1;
    Linear q, k, v, out;
    Norm norm2;
    Linear up, down;
  };
  GraphBuilder& b_;
  TransformerConfig c_;
  Layers layers_;
  std::vector<Block> blocks_;
};

}  // namespace terrace::nn
