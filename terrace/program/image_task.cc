#include "terrace/program/image_task.h"

#include <fmt/format.h>

#include "terrace/core/error.h"
#include "terrace/nn/loss.h"

namespace terrace {
namespace {

template <class T>
std::span<T> as(std::span<std::byte> bytes) {
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace

ImageTask::ImageTask(const TrainConfig& c)
    : config_(c.vit),
      augmentation_(c.augmentation),
      batch_(c.batch),
      parts_(c.parts),
      data_(std::make_unique<ImageData>(c.images, c.vit.classes, c.augmentation)) {
  const std::string size = fmt::format("{} x {} pixels", data_->height(), data_->width());
  if (data_->height() != data_->width())
    throw Error(ErrorKind::bad_file, "its images have " + size, c.images.images, "square images");
  config_.size = data_->width();
  if (config_.size % config_.patch != 0)
    throw Error(ErrorKind::bad_file,
                fmt::format("patches of {0} x {0} do not divide images of {1}", config_.patch, size), c.images.images,
                "another model.patch");
  if (augmentation_.shift >= config_.size)
    throw Error(ErrorKind::bad_file, fmt::format("a shift by {} leaves nothing of {}", augmentation_.shift, size),
                c.images.images, "a smaller data.shift");
  if (data_->test_count() > 0 && data_->test_count() < batch_)
    throw Error(ErrorKind::bad_file,
                fmt::format("has {} test images, fewer than a batch of {}", data_->test_count(), batch_),
                c.images.test_images, "a smaller run.batch");
}

std::vector<nn::Parameter> ImageTask::declare(GraphBuilder& b) {
  builder_ = &b;
  return model_.emplace(b, config_).parameters();
}

std::vector<BatchInput> ImageTask::inputs() const {
  const Dim n(batch_), size(config_.size);
  return {{"images", {DType::f32, Layout::dense, {n, size, size, Dim(1)}}},
          {"labels", {DType::i32, Layout::dense, {n, Dim(1), Dim(1)}}}};
}

ValueId ImageTask::loss(std::span<const ValueId> batch, ValueId step) {
  return nn::mean_cross_entropy(*builder_, model_->logits(batch[0], step), batch[1]);
}

std::vector<Metric> ImageTask::evaluation(std::span<const ValueId> batch) {
  const ValueId logits = model_->logits(batch[0]);
  const ValueId loss = nn::mean_cross_entropy(*builder_, logits, batch[1]);
  return {{"val_loss", loss}, {"accuracy", nn::accuracy(*builder_, logits, batch[1])}};
}

void ImageTask::draw(u64 seed, i64 step, i64 part, Batch batch) const {
  data_->draw(seed, (step * parts_ + part) * batch_, as<float>(batch[0]), as<i32>(batch[1]));
}

void ImageTask::validation(i64 index, Batch batch) const {
  data_->test(index * batch_, as<float>(batch[0]), as<i32>(batch[1]));
}

std::string ImageTask::describe_data() const {
  std::string text = fmt::format("{} images of {} classes", data_->count(), config_.classes);
  const i64 tested = validation_batches() * batch_;
  if (tested > 0) text += fmt::format(", {} to test on", tested);
  if (tested < data_->test_count()) text += fmt::format(" ({} more fill no batch)", data_->test_count() - tested);
  return text;
}

io::Metadata ImageTask::metadata() const {
  return {
      {"model", "vit"},
      {"layers", std::to_string(config_.layers)},
      {"width", std::to_string(config_.width)},
      {"heads", std::to_string(config_.heads)},
      {"patch", std::to_string(config_.patch)},
      {"size", std::to_string(config_.size)},
      {"classes", std::to_string(config_.classes)},
      {"dropout", fmt::format("{}", config_.dropout)},
      {"pixel_mean", fmt::format("{}", data_->mean())},
      {"pixel_deviation", fmt::format("{}", data_->deviation())},
      {"data", fmt::format("images {} test {} shift {} flip {}", data_->count(), data_->test_count(),
                           augmentation_.shift, augmentation_.flip)},
  };
}

}  // namespace terrace
