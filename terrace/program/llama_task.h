// A llama model of a GGUF file on a text in its own tokens: all of it trained further, or adapters beside it.
#pragma once

#include <optional>

#include "terrace/nn/llama_training.h"
#include "terrace/program/model.h"
#include "terrace/program/text_data.h"
#include "terrace/program/training_task.h"

namespace terrace {

class LlamaTask : public TrainingTask {
 public:
  /// Encodes the text, once, into text.tokens in the run's folder.
  explicit LlamaTask(const TrainConfig& config);

  std::vector<nn::Parameter> declare(GraphBuilder& b) override;
  std::vector<BatchInput> inputs() const override;
  ValueId loss(std::span<const ValueId> batch, ValueId step) override;
  std::vector<Metric> evaluation(std::span<const ValueId> batch) override;
  std::vector<PlanFile> files() const override;
  std::vector<Placement> weights(const Graph& graph, TierId disk) const override;
  /// The file's numbers; adapters begin as nn::initialize has it.
  bool fill(const nn::Parameter& p, std::span<float> out) const override;
  Bytes memory_bytes() const override;
  void draw(u64 seed, i64 step, i64 part, Batch batch) const override;
  i64 validation_batches() const override;
  void validation(i64 index, Batch batch) const override;
  const char* unit() const override { return "token"; }
  i64 units() const override { return batch_ * length_; }
  std::string describe_data() const override;
  io::Metadata metadata() const override;

 private:
  Model file_;
  std::optional<nn::Lora> lora_;
  i64 batch_, length_;
  double validation_;
  TextData data_;
  std::string sha256_;
  std::optional<nn::TrainableLlama> model_;
};

/// The SHA-256 of a whole model file, by which checkpoints name it.
std::string sha256_of(const io::GgufFile& file);

}  // namespace terrace
