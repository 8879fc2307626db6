// What a training run trains: a model, and the batches that it is shown.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "terrace/io/safetensors.h"
#include "terrace/nn/parameters.h"
#include "terrace/plan/plan.h"
#include "terrace/program/train_config.h"

namespace terrace {

/// An input of the graph that is bound anew for each batch.
struct BatchInput {
  std::string name;
  TensorSpec spec;
};
/// What evaluation computes: f32 [1], averaged over the batches of the validation part.
struct Metric {
  std::string name;  ///< as metrics.jsonl has it: "val_loss", "accuracy"
  ValueId value = kNone;
};
/// Room for a batch, in the order of TrainingTask::inputs().
using Batch = std::span<const std::span<std::byte>>;

/// Batches are functions of their arguments alone, so that a resumed run sees what the undisturbed one saw.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  /// Declares the parameters in `b`. Called once, before the passes below are added to the same builder.
  virtual std::vector<nn::Parameter> declare(GraphBuilder& b) = 0;
  virtual std::vector<BatchInput> inputs() const = 0;
  /// Adds a pass forward -> f32 [1], the mean loss of a batch. `step` (i32 [1]) drives dropout.
  virtual ValueId loss(std::span<const ValueId> batch, ValueId step) = 0;
  /// Adds a pass forward without dropout; the loss comes first. Asked for only if there are validation batches.
  virtual std::vector<Metric> evaluation(std::span<const ValueId> batch) = 0;

  /// The file with the graph's weights, and where they lie in it; none if it has no weights.
  virtual std::vector<PlanFile> files() const { return {}; }
  virtual std::vector<Placement> weights(const Graph&, TierId /*disk*/) const { return {}; }
  /// What a parameter begins with; false: as nn::initialize has it.
  virtual bool fill(const nn::Parameter&, std::span<float> /*out*/) const { return false; }
  /// What the task holds itself: data, headers of files.
  virtual Bytes memory_bytes() const { return {}; }

  /// The batch of part `part` (gradient accumulation) of step `step`.
  virtual void draw(u64 seed, i64 step, i64 part, Batch batch) const = 0;
  virtual i64 validation_batches() const = 0;
  virtual void validation(i64 index, Batch batch) const = 0;

  /// What a batch counts, "token" or "image", and how many of them it has.
  virtual const char* unit() const = 0;
  virtual i64 units() const = 0;
  /// The data in words: "1115394 tokens of 65 kinds".
  virtual std::string describe_data() const = 0;
  /// What the numbers of a step depend on besides states and optimizer, and what a reader of the checkpoint needs.
  virtual io::Metadata metadata() const = 0;
};

/// Reads the data. Error(bad_file) where it is missing, too short or does not fit the model.
std::unique_ptr<TrainingTask> make_task(const TrainConfig& config);

}  // namespace terrace
