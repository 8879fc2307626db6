// What `terrace train` is asked to do: a TOML file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "terrace/nn/gpt.h"
#include "terrace/nn/llama_training.h"
#include "terrace/nn/vit.h"
#include "terrace/program/image_data.h"

namespace terrace {

/// A text that is trained on.
struct TextSource {
  std::string path;         ///< from the configuration's folder
  bool characters = true;   ///< a token for each byte that occurs; else for each byte. Not with a tokenizer
  std::string tokenizer;    ///< path of a GGUF file whose tokenizer cuts it; empty: bytes or characters
  double validation = 0.1;  ///< share of the text, at its end
};

/// A GGUF file whose model is trained further, with its own tokenizer.
struct BaseModel {
  std::string path;              ///< from the configuration's folder
  i64 length = 256;              ///< of a window, in tokens
  std::optional<nn::Lora> lora;  ///< none: all parameters are trained
};

enum class ModelKind : std::uint8_t { gpt, llama, vit };

struct TrainConfig {
  ModelKind kind = ModelKind::gpt;
  nn::GptConfig gpt;  ///< of kind gpt; the vocabulary is the data's
  BaseModel base;     ///< of kind llama
  TextSource text;
  nn::VitConfig vit;  ///< of kind vit; the size of images is the data's
  ImageFiles images;  ///< paths from the configuration's folder
  Augmentation augmentation;
  nn::Optimizer optimizer;
  std::string folder;  ///< of the run, from the configuration's folder
  i64 steps = 1000, batch = 12, parts = 1;
  i64 evaluate_every = 250, save_every = 500;
  u64 seed = 1;
  std::string origin;  ///< the configuration's path
};

/// Error(bad_file) with file, line and key for unknown keys, impossible shapes and values out of range.
TrainConfig parse_train_config(std::string_view toml, const std::string& origin);

}  // namespace terrace
