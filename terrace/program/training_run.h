// A training run in a folder of its own: checkpoints that resume bit by bit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "terrace/io/checkpoint.h"
#include "terrace/program/trainer.h"
#include "terrace/program/training_task.h"

namespace terrace {

struct TrainStep {
  i64 step = 0;  ///< from 1 on
  float loss = 0;
  double rate = 0, grad_norm = -1;  ///< grad_norm: below zero where it is not computed
  double seconds = 0;
};

class TrainingRun {
 public:
  /// Reads the data, builds the graph, fuses but for `no_fuse`, plans. Errors as make_task, passes::fuse and Trainer.
  TrainingRun(TrainConfig config, Machine machine, TrainerOptions options, std::span<const std::string> no_fuse = {});

  const TrainConfig& config() const { return config_; }
  const TrainingTask& task() const { return *task_; }
  Trainer& trainer() { return *trainer_; }
  i64 parameter_count() const;
  std::string checkpoint_path() const { return config_.folder + "/checkpoint.safetensors"; }

  /// From the beginning.
  void start();
  /// From the folder's checkpoint. Error(bad_file) if it is altered or belongs to another configuration.
  void resume();
  i64 steps_done();
  /// The next one. Error(failure) naming step and tensor when the loss is no number: the checkpoint is not touched. To
  /// find the tensor, the steps since the checkpoint are done again, and the last of them is looked at node by node.
  TrainStep step();
  /// Told how far that is; false gives up.
  std::function<bool(i64 done, i64 steps)> on_search;
  bool evaluates() const { return !metrics_.empty(); }
  /// Metrics over the validation part, by name; the loss first.
  std::vector<std::pair<std::string, double>> evaluate();
  /// Writes the checkpoint, whole or not at all; returns weights_sha256. Error(failure), with the
  /// checkpoint untouched, if a parameter is no number.
  std::string save();

 private:
  void renumber(std::span<const ValueId> to);
  std::vector<InputBinding> bind(bool validation, i64 index);
  std::vector<io::CheckpointTensor> tensors() const;
  std::vector<ValueId> states() const;
  io::Metadata metadata() const;
  const nn::Parameter* first_not_finite();
  /// None if it was given up, or all are numbers when the step is done again.
  std::optional<std::string> first_bad_tensor(i64 step);
  [[noreturn]] void fail_not_a_number(i64 step);

  TrainConfig config_;
  std::unique_ptr<TrainingTask> task_;
  std::vector<ValueId> inputs_;  ///< of all parts
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<Metric> metrics_;
  ValueId count_ = kNone;
  i64 saved_ = 0;  ///< step of the checkpoint that is this run's; 0: there is none
  nn::Update update_;
  std::vector<nn::Parameter> parameters_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace terrace
