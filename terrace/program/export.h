// What a training run made, as a file for other programs: parameters, a model, or adapters.
#pragma once

#include <string>

#include "terrace/core/tensor.h"

namespace terrace {

struct ExportOptions {
  std::string base;         ///< the GGUF file that a llama run began with; needed for GGUF, and to merge
  bool merge = false;       ///< adapters become part of the matrices that they stand beside
  DType type = DType::f16;  ///< of matrices that were trained, or merged with adapters: f16 or f32
};

struct Exported {
  i64 tensors = 0;
  Bytes bytes;  ///< of the file
};

/// Writes the weights of a checkpoint to `out`, whole or not at all:
///   X.safetensors  the parameters as they are, in f32; with `merge` all of the model's tensors
///   X.gguf         of a llama run: the model, all keys of the base file kept. Of its tensors those that were not
///                  trained stay as they are, byte by byte; the others, W + alpha / rank B A with adapters, are written
///                  in `type` (vectors in f32). Adapters that are not merged become an adapter of their own, as
///                  llama.cpp reads it (general.type "adapter").
/// Error(bad_file) for what is no checkpoint, an altered one, or another base file than the run's; Error(usage) for
/// what does not go together; Error(failure) where a number does not fit into f16.
Exported export_checkpoint(const std::string& checkpoint, const std::string& out, const ExportOptions& options);

}  // namespace terrace
