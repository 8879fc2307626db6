#include "terrace/program/gpt_task.h"

#include <fmt/format.h>

#include <filesystem>

#include "terrace/core/error.h"
#include "terrace/io/gguf.h"
#include "terrace/program/gpt_model.h"
#include "terrace/program/token_cache.h"

namespace terrace {
namespace {

std::span<i32> ids_of(std::span<std::byte> bytes) {
  return {reinterpret_cast<i32*>(bytes.data()), bytes.size() / sizeof(i32)};
}

/// `sha256` becomes the tokenizer's, if there is one.
TextData data_of(const TrainConfig& c, std::string& sha256) {
  if (c.text.tokenizer.empty()) return TextData(c.text.path, c.text.characters, c.text.validation, c.gpt.context);
  const TokenCache tokens = encoded(c.text.path, io::GgufFile(c.text.tokenizer), c.folder + "/text.tokens");
  sha256 = tokens.tokenizer_sha256;
  return TextData(tokens, c.text.validation, c.gpt.context);
}

}  // namespace

GptTask::GptTask(const TrainConfig& c)
    : config_(c.gpt),
      batch_(c.batch),
      length_(c.gpt.context),
      validation_(c.text.validation),
      tokenizer_(c.text.tokenizer.empty() ? "" : std::filesystem::absolute(c.text.tokenizer).string()),
      data_(data_of(c, tokenizer_sha256_)) {
  config_.vocabulary = data_.vocabulary();
  if (validation_ > 0 && data_.validation_windows() < batch_)
    throw Error(ErrorKind::bad_file,
                fmt::format("its validation part has {} windows of {} tokens, fewer than a batch of {}",
                            data_.validation_windows(), length_, batch_),
                c.text.path, "a longer text, a larger data.validation (0: none), or a smaller run.batch");
}

std::vector<nn::Parameter> GptTask::declare(GraphBuilder& b) { return model_.emplace(b, config_).parameters(); }

std::vector<BatchInput> GptTask::inputs() const {
  const TensorSpec window{DType::i32, Layout::dense, {Dim(batch_), Dim(length_)}};
  return {{"ids", window}, {"targets", window}};
}

ValueId GptTask::loss(std::span<const ValueId> batch, ValueId step) {
  return model_->loss(batch[0], batch[1], step, true);
}

std::vector<Metric> GptTask::evaluation(std::span<const ValueId> batch) {
  return {{"val_loss", model_->loss(batch[0], batch[1], kNone, false)}};
}

void GptTask::draw(u64 seed, i64 step, i64 part, Batch batch) const {
  data_.draw(seed, step, part, ids_of(batch[0]), ids_of(batch[1]));
}

i64 GptTask::validation_batches() const { return validation_ > 0 ? data_.validation_windows() / batch_ : 0; }

void GptTask::validation(i64 index, Batch batch) const {
  data_.validation(index * batch_, ids_of(batch[0]), ids_of(batch[1]));
}

std::string GptTask::describe_data() const {
  return fmt::format("{} tokens of {} kinds", data_.tokens(), data_.vocabulary());
}

io::Metadata GptTask::metadata() const {
  io::Metadata m = {
      {"model", "gpt"},
      {"layers", std::to_string(config_.layers)},
      {"width", std::to_string(config_.width)},
      {"heads", std::to_string(config_.heads)},
      {"context", std::to_string(config_.context)},
      {"dropout", fmt::format("{}", config_.dropout)},
      {"precision", config_.precision == DType::bf16 ? "bf16" : "f32"},
      {"vocabulary", std::to_string(config_.vocabulary)},
      {"data", fmt::format("tokens {} validation {}", data_.tokens(), validation_)},
  };
  if (tokenizer_.empty()) {
    m["letters"] = letters_to_hex(data_.letters());
  } else {
    m["tokenizer"] = tokenizer_;
    m["tokenizer_sha256"] = tokenizer_sha256_;
  }
  return m;
}

}  // namespace terrace
