// What GPT-2 (Radford et al. 2019) and ViT (Dosovitskiy et al. 2020) have in common: pre-norm transformer blocks,
// x + attention(norm(x)), then x + down(gelu(up(norm(x)))), up to four times the width.
#pragma once

#include "terrace/nn/parameters.h"

namespace terrace::nn {

struct TransformerConfig {
  i64 width = 128, heads = 4, layers = 4;
  double dropout = 0;
  DType dtype = DType::f32;  ///< f64 for checks by the interpreter
};

/// Declares parameters under names, and adds nodes over them; a model of such blocks is made with it.
class Transformer {
 public:
  struct Norm {
    ValueId weight = kNone, bias = kNone;
  };
  struct Product {
    ValueId weight = kNone, bias = kNone;  ///< kNone: no bias
  };

  /// Declares nothing yet. Throws Error(usage) if the heads do not divide the width.
  Transformer(GraphBuilder& builder, const TransformerConfig& config);

  /// Begins with normal numbers of this deviation or, where it is 0, with `constant`. Matrices decay, vectors do not.
  ValueId declare(const std::string& name, Shape shape, double deviation, double constant = 0);
  /// NAME.weight [width] of ones, NAME.bias [width] of zeros.
  Norm declare_norm(const std::string& name);
  /// NAME [rows, columns] and, with a bias, NAME.bias [rows] of zeros.
  Product declare_product(const std::string& name, i64 rows, i64 columns, double deviation, bool bias);
  /// Parameters "h.I.*" of all blocks. Matrices begin with this deviation; those whose products are added to the
  /// residual stream with 1 / sqrt(2 layers) of it.
  void declare_blocks(double deviation, bool biases);
  const std::vector<Parameter>& parameters() const { return parameters_; }

  ValueId norm(ValueId x, const Norm& w, const std::string& name);
  /// x [.., columns] -> x w^T + bias [.., rows].
  ValueId product(ValueId x, const Product& w, const std::string& name);
  /// Dropout; x itself where there is none or `step` is kNone.
  ValueId drop(ValueId x, ValueId step);
  using Attend = std::function<ValueId(ValueId q, ValueId k, ValueId v, const std::string& name)>;
  /// x [.., T, width] through all blocks.
  ValueId blocks(ValueId x, ValueId step, const Attend& attend);
  /// For blocks(): attention among all T places, or, causal, of each to itself and those before it.
  Attend attention(bool causal);
  /// ints and floats of an attention with as many heads for keys as for queries.
  Attrs heads(bool causal) const;

 private:
  struct Block {
    Norm norm1;
    Product q, k, v, out;
    Norm norm2;
    Product up, down;
  };
  GraphBuilder& b_;
  TransformerConfig c_;
  std::vector<Parameter> parameters_;
  std::vector<Block> blocks_;
  i64 drops_ = 0;
};

}  // namespace terrace::nn
