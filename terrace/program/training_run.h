// A training run in a folder of its own: checkpoints that resume bit by bit.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "terrace/io/checkpoint.h"
#include "terrace/program/text_data.h"
#include "terrace/program/train_config.h"
#include "terrace/program/trainer.h"

namespace terrace {

struct TrainStep {
  i64 step = 0;  ///< from 1 on
  float loss = 0;
  double rate = 0, grad_norm = -1;  ///< grad_norm: below zero where it is not computed
  double seconds = 0;
};

class TrainingRun {
 public:
  /// Reads the text, builds the graph, plans. Errors as TextData and Trainer.
  TrainingRun(TrainConfig config, Machine machine, TrainerOptions options);

  const TrainConfig& config() const { return config_; }
  const TextData& data() const { return data_; }
  Trainer& trainer() { return *trainer_; }
  i64 parameter_count() const;
  std::string checkpoint_path() const { return config_.folder + "/checkpoint.safetensors"; }

  /// From the beginning.
  void start();
  /// From the folder's checkpoint. Error(bad_file) if it is altered or belongs to another configuration.
  void resume();
  i64 steps_done();
  /// The next one. Error(failure) naming step and tensor when the loss is no number: the checkpoint is not touched.
  TrainStep step();
  /// Mean loss over the validation part (whole batches of windows that do not overlap), without dropout.
  double evaluate();
  /// Writes the checkpoint, whole or not at all; returns weights_sha256. Error(failure), with the
  /// checkpoint untouched, if a parameter is no number.
  std::string save();

 private:
  std::vector<io::CheckpointTensor> tensors() const;
  std::vector<ValueId> states() const;
  io::Metadata metadata();
  const nn::Parameter* first_not_finite();
  [[noreturn]] void fail_not_a_number(i64 step);

  TrainConfig config_;
  TextData data_;
  std::vector<ValueId> ids_, targets_;
  ValueId count_ = kNone, validation_ = kNone;
  nn::Update update_;
  std::vector<nn::Parameter> parameters_;
  std::unique_ptr<Trainer> trainer_;
  std::vector<std::vector<i32>> tokens_;  ///< ids, then targets, of each part
};

}  // namespace terrace
