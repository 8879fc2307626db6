// What `terrace train` is asked to do: a TOML file.
#pragma once

#include <string>
#include <string_view>

#include "terrace/nn/gpt.h"

namespace terrace {

struct TrainConfig {
  nn::GptConfig model;  ///< the vocabulary is the data's
  std::string text;     ///< path, from the configuration's folder
  bool characters = true;
  double validation = 0.1;  ///< share of the text, at its end
  nn::AdamW optimizer;
  std::string folder;  ///< of the run, from the configuration's folder
  i64 batch = 12, length = 64, parts = 1;
  i64 evaluate_every = 250, save_every = 500;
  u64 seed = 1;
  std::string origin;  ///< the configuration's path
};

/// Error(bad_file) with file, line and key for unknown keys, impossible shapes and values out of range.
TrainConfig parse_train_config(std::string_view toml, const std::string& origin);

}  // namespace terrace
