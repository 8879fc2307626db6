// From a model file to a graph and the places of its weights.
#pragma once

#include <string>
#include <vector>

#include "terrace/io/gguf.h"
#include "terrace/nn/llama.h"
#include "terrace/plan/plan.h"

namespace terrace {

/// A model file whose architecture is known. Only the header is read.
struct Model {
  io::GgufFile file;
  nn::LlamaConfig config;
};

/// Throws Error(bad_file) naming the architecture, key or tensor when the file is not a model this build runs.
Model open_model(const std::string& path);

/// The model as a graph; Error(usage) when the options do not go with it (a context beyond the model's).
Graph build_graph(const Model& model, const nn::LlamaOptions& options);

/// The spec of each of its tensors by name.
nn::SpecOf specs_of(const Model& model);

/// What the header of an open file holds, and the window that it is read through.
Bytes header_bytes(const io::GgufFile& file);

/// Where each weight of the graph lies in the file (Owner::file, file index 0, in tier `disk`).
std::vector<Placement> weight_places(const Graph& graph, const Model& model, TierId disk);

}  // namespace terrace
