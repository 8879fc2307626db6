// A GPT on a text of bytes, characters or a tokenizer's tokens.
#pragma once

#include <optional>

#include "terrace/nn/gpt.h"
#include "terrace/program/text_data.h"
#include "terrace/program/training_task.h"

namespace terrace {

class GptTask : public TrainingTask {
 public:
  explicit GptTask(const TrainConfig& config);

  std::vector<nn::Parameter> declare(GraphBuilder& b) override;
  std::vector<BatchInput> inputs() const override;
  ValueId loss(std::span<const ValueId> batch, ValueId step) override;
  std::vector<Metric> evaluation(std::span<const ValueId> batch) override;
  Bytes memory_bytes() const override { return data_.memory_bytes(); }
  void draw(u64 seed, i64 step, i64 part, Batch batch) const override;
  i64 validation_batches() const override;
  void validation(i64 index, Batch batch) const override;
  const char* unit() const override { return "token"; }
  i64 units() const override { return batch_ * length_; }
  std::string describe_data() const override;
  io::Metadata metadata() const override;

 private:
  nn::GptConfig config_;
  i64 batch_, length_;
  double validation_;
  std::string tokenizer_, tokenizer_sha256_;  ///< path; both empty for bytes and characters
  TextData data_;
  std::optional<nn::Gpt> model_;
};

}  // namespace terrace
