#include "terrace/program/llama_task.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "terrace/core/error.h"
#include "terrace/io/sha256.h"
#include "terrace/program/tensor_floats.h"

namespace terrace {
namespace {

std::span<i32> ids_of(std::span<std::byte> bytes) {
  return {reinterpret_cast<i32*>(bytes.data()), bytes.size() / sizeof(i32)};
}

TextData data_of(const TrainConfig& c, const Model& model) {
  if (c.base.length > model.config.context)
    throw Error(
        ErrorKind::usage,
        fmt::format("windows of {} tokens are beyond the model's context of {}", c.base.length, model.config.context),
        c.origin, "a smaller model.context");
  const TokenCache tokens = encoded(c.text.path, model.file, c.folder + "/text.tokens");
  if (tokens.vocabulary > model.config.vocabulary)
    throw Error(
        ErrorKind::bad_file,
        fmt::format("{} tokens, but only {} rows of token_embd.weight", tokens.vocabulary, model.config.vocabulary),
        model.file.path(), "convert or download the model again");
  return TextData(tokens, c.text.validation, c.base.length);
}

}  // namespace

std::string sha256_of(const io::GgufFile& file) {
  io::Sha256 hash;
  std::vector<std::byte> piece(64 << 10);
  for (u64 at = 0; at < file.size(); at += piece.size()) {
    const auto part = std::span(piece).first(std::min<u64>(piece.size(), file.size() - at));
    file.file().read(at, part);
    hash.update(part);
  }
  return hash.hex();
}

LlamaTask::LlamaTask(const TrainConfig& c)
    : file_(open_model(c.base.path)),
      lora_(c.base.lora),
      batch_(c.batch),
      length_(c.base.length),
      validation_(c.text.validation),
      data_(data_of(c, file_)),
      sha256_(sha256_of(file_.file)) {
  if (validation_ > 0 && data_.validation_windows() < batch_)
    throw Error(ErrorKind::bad_file,
                fmt::format("its validation part has {} windows of {} tokens, fewer than a batch of {}",
                            data_.validation_windows(), length_, batch_),
                c.text.path, "a longer text, a larger data.validation (0: none), or a smaller run.batch");
}

std::vector<nn::Parameter> LlamaTask::declare(GraphBuilder& b) {
  const nn::SpecOf specs = specs_of(file_);
  return model_.emplace(b, file_.config, lora_, specs).parameters();
}

std::vector<BatchInput> LlamaTask::inputs() const {
  const TensorSpec window{DType::i32, Layout::dense, {Dim(batch_), Dim(length_)}};
  return {{"ids", window}, {"targets", window}};
}

ValueId LlamaTask::loss(std::span<const ValueId> batch, ValueId) { return model_->loss(batch[0], batch[1], true); }

std::vector<Metric> LlamaTask::evaluation(std::span<const ValueId> batch) {
  return {{"val_loss", model_->loss(batch[0], batch[1], false)}};
}

std::vector<PlanFile> LlamaTask::files() const {
  if (!lora_) return {};
  return {{file_.file.path(), Bytes{file_.file.size()}}};
}

std::vector<Placement> LlamaTask::weights(const Graph& graph, TierId disk) const {
  return weight_places(graph, file_, disk);
}

bool LlamaTask::fill(const nn::Parameter& p, std::span<float> out) const {
  const io::GgufTensor* t = file_.file.find_tensor(p.name);
  if (t) read_floats(file_.file, *t, 0, out);
  return t != nullptr;
}

Bytes LlamaTask::memory_bytes() const { return Bytes{data_.memory_bytes().count + header_bytes(file_.file).count}; }

void LlamaTask::draw(u64 seed, i64 step, i64 part, Batch batch) const {
  data_.draw(seed, step, part, ids_of(batch[0]), ids_of(batch[1]));
}

i64 LlamaTask::validation_batches() const { return validation_ > 0 ? data_.validation_windows() / batch_ : 0; }

void LlamaTask::validation(i64 index, Batch batch) const {
  data_.validation(index * batch_, ids_of(batch[0]), ids_of(batch[1]));
}

std::string LlamaTask::describe_data() const {
  return fmt::format("{} tokens of {} kinds", data_.tokens(), data_.vocabulary());
}

io::Metadata LlamaTask::metadata() const {
  io::Metadata m = {
      {"model", "llama"},
      {"base_name", std::filesystem::path(file_.file.path()).filename().string()},
      {"base_sha256", sha256_},
      {"context", std::to_string(length_)},
      {"data", fmt::format("tokens {} validation {}", data_.tokens(), validation_)},
  };
  if (lora_) {
    m["lora.rank"] = std::to_string(lora_->rank);
    m["lora.alpha"] = fmt::format("{}", lora_->alpha);
    m["lora.targets"] = fmt::format("{}", fmt::join(lora_->targets, " "));
  }
  return m;
}

}  // namespace terrace
