// A Vision Transformer on labelled images.
#pragma once

#include <optional>

#include "terrace/nn/vit.h"
#include "terrace/program/image_data.h"
#include "terrace/program/training_task.h"

namespace terrace {

class ImageTask : public TrainingTask {
 public:
  explicit ImageTask(const TrainConfig& config);

  std::vector<nn::Parameter> declare(GraphBuilder& b) override;
  std::vector<BatchInput> inputs() const override;
  ValueId loss(std::span<const ValueId> batch, ValueId step) override;
  /// "val_loss" and "accuracy" over the test images, whole batches of them.
  std::vector<Metric> evaluation(std::span<const ValueId> batch) override;
  void draw(u64 seed, i64 step, i64 part, Batch batch) const override;
  i64 validation_batches() const override { return data_->test_count() / batch_; }
  void validation(i64 index, Batch batch) const override;
  const char* unit() const override { return "image"; }
  i64 units() const override { return batch_; }
  std::string describe_data() const override;
  Bytes memory_bytes() const override { return data_->memory_bytes(); }
  io::Metadata metadata() const override;

 private:
  nn::VitConfig config_;
  Augmentation augmentation_;
  i64 batch_, parts_;
  std::unique_ptr<ImageData> data_;  ///< plain files are read as a batch is drawn
  GraphBuilder* builder_ = nullptr;
  std::optional<nn::Vit> model_;
};

}  // namespace terrace
