// The llama architecture over whole windows of text, for fine-tuning: all of its numbers, or low-rank adapters beside
// frozen ones.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "terrace/nn/llama.h"
#include "terrace/nn/parameters.h"

namespace terrace::nn {

/// Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): y = x W^T + alpha / rank (x A^T) B^T, with A [rank, k] normal
/// at first and B [r, rank] zero, for each of the named matrices in every layer.
struct Lora {
  i64 rank = 8;
  double alpha = 16;
  std::vector<std::string> targets = {"q", "v"};  ///< of q, k, v, o, gate, up, down
  double scale() const { return alpha / static_cast<double>(rank); }
};

/// GGUF's name of a target's matrix within a layer ("q": "attn_q.weight"); Error(usage) for what is none.
std::string lora_matrix(std::string_view target);

/// A matrix with an adapter, whose parameters are `weight`.lora_a and `weight`.lora_b (llama.cpp's names).
struct LoraPlace {
  std::string weight;
  i64 rows = 0, columns = 0;
};
/// All of them, layer by layer. Error(usage) for unknown or repeated targets, and a rank beyond a matrix's.
std::vector<LoraPlace> lora_places(const LlamaConfig& config, const Lora& lora);

/// Declares its weights and parameters once; each call of logits() or loss() adds a pass forward over them. With
/// adapters the model's tensors are weights of the graph in the formats of the file, whose products take them as they
/// lie; without, all are parameters: states in `dtype`, which whoever runs the graph fills.
class TrainableLlama {
 public:
  /// Errors as llama() and lora_places().
  TrainableLlama(GraphBuilder& builder, const LlamaConfig& config, const std::optional<Lora>& lora,
                 const SpecOf& spec_of, DType dtype = DType::f32);
  /// ids i32 [B, T] -> [B, T, vocabulary].
  ValueId logits(ValueId ids);
  /// Mean cross-entropy [1] of those logits for targets i32 [B, T], without the logits being there whole; `trains`:
  /// with gradients.
  ValueId loss(ValueId ids, ValueId targets, bool trains);
  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  struct Matrix {
    ValueId w = kNone, a = kNone, b = kNone;  ///< a, b: its adapter
  };
  struct Block {
    ValueId attn_norm, ffn_norm;
    Matrix q, k, v, o, gate, up, down;
  };
  ValueId tensor(const std::string& name, Shape shape);
  Matrix matrix(const std::string& name, i64 rows, i64 columns);
  ValueId in_type(ValueId v);
  ValueId factor(ValueId w);
  ValueId product(ValueId x, ValueId w, const std::string& name);
  ValueId project(ValueId x, const Matrix& m, const std::string& name);
  ValueId norm(ValueId x, ValueId w, const std::string& name);
  ValueId hidden(ValueId ids);
  ValueId block(ValueId x, ValueId angles, const Block& p, const std::string& name);

  GraphBuilder& b_;
  LlamaConfig c_;
  std::optional<Lora> lora_;
  const SpecOf& spec_of_;  // used while constructing
  DType dtype_;
  std::vector<std::string> adapted_;
  std::vector<Parameter> parameters_;
  ValueId table_ = kNone, output_ = kNone, output_norm_ = kNone;
  std::vector<Block> blocks_;
};

}  // namespace terrace::nn
