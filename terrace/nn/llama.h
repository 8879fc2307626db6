// The llama architecture as a graph (Touvron et al. 2023, arXiv 2302.13971; tensor names as GGUF has them).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "terrace/graph/graph.h"

namespace terrace::nn {

struct LlamaConfig {
  i64 layers = 0, width = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, rope_dims = 0, vocabulary = 0, context = 0;
  double rope_base = 10000.0, norm_eps = 1e-5;
};

enum class Logits : std::uint8_t {
  last,  ///< f32 [1, vocabulary]: of the last token of a step
  all,   ///< f32 [n, vocabulary]
};

struct LlamaOptions {
  i64 context = 512;     ///< rows of the cache; at most the model's
  i64 max_tokens = 512;  ///< upper bound of tokens in a step (symbol "n")
  DType kv_dtype = DType::f16;
  Layout kv_layout = Layout::dense;  ///< f16 dense, or f32 q8_0
  bool quantize_activations = true;  ///< 8-bit blocks before matrices in block layouts
  Logits logits = Logits::last;
};

/// The spec of a tensor by its name, or nullptr if the file has none.
using SpecOf = std::function<const TensorSpec*(std::string_view)>;
/// Error(bad_file) naming the tensor if it is missing or has another shape than the configuration needs.
const TensorSpec& checked_spec(const SpecOf& spec_of, const std::string& name, const Shape& want);

/// Inputs: "ids" i32 [n]. Symbols: "n" tokens in the step, "pos" position of its first. State: "blk.I.k_cache",
/// "blk.I.v_cache". Output 0: "logits". "output.weight" may be absent: then token_embd.weight is used.
Graph llama(const LlamaConfig& config, const LlamaOptions& options, const SpecOf& spec_of);

}  // namespace terrace::nn
