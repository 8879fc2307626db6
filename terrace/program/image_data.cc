#include "terrace/program/image_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "terrace/core/error.h"
#include "terrace/program/mixed.h"

namespace terrace {
namespace {

[[noreturn]] void fail(const std::string& path, std::string what, std::string hint) {
  throw Error(ErrorKind::bad_file, std::move(what), path, std::move(hint));
}

std::vector<std::byte> read_labels(const std::string& path, u64 images, i64 classes) {
  io::IdxFile file(path);
  if (file.images()) fail(path, "holds images, not labels", "labels begin with 00 00 08 01");
  if (file.items() != images)
    fail(path, fmt::format("holds {} labels for {} images", file.items(), images), "the labels of these images");
  std::vector<std::byte> labels(file.items());
  file.read(0, labels);
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (std::to_integer<i64>(labels[i]) >= classes)
      fail(path,
           fmt::format("label {} is {}, none of {} classes from 0 on", i, std::to_integer<int>(labels[i]), classes),
           "a larger model.classes");
  return labels;
}

}  // namespace

ImageSet::ImageSet(const std::string& images, const std::string& labels, i64 classes) : file_(images) {
  if (!file_.images()) fail(images, "holds labels, not images", "images begin with 00 00 08 03");
  labels_ = read_labels(labels, file_.items(), classes);
  if (!file_.packed()) {
    scratch_.resize(file_.item_bytes());
    return;
  }
  if (file_.item_bytes() > (4_GiB).count / file_.items())
    fail(images, "unpacks to more than 4 GiB", "unpack it: plain files are read image by image");
  pixels_.resize(file_.items() * file_.item_bytes());
  file_.read(0, pixels_);
}

std::span<const std::byte> ImageSet::pixels(i64 i) {
  const std::size_t each = file_.item_bytes();
  if (file_.packed()) return std::span(pixels_).subspan(static_cast<std::size_t>(i) * each, each);
  file_.read(static_cast<u64>(i), scratch_);
  return scratch_;
}

ImageData::ImageData(const ImageFiles& files, i64 classes, const Augmentation& augmentation)
    : train_(files.images, files.labels, classes), augmentation_(augmentation) {
  if (!files.test_images.empty()) test_.emplace(files.test_images, files.test_labels, classes);
  if (test_ && (test_->height() != height() || test_->width() != width()))
    fail(files.test_images,
         fmt::format("its images have {} x {} pixels, those to train on {} x {}", test_->height(), test_->width(),
                     height(), width()),
         "images of one size");
  measure();
}

/// In whole numbers, so that nothing depends on an order: 2^46 bytes of pixels fit.
void ImageData::measure() {
  std::array<u64, 256> count{};
  for (i64 i = 0; i < train_.count(); ++i)
    for (const std::byte p : train_.pixels(i)) ++count[std::to_integer<std::size_t>(p)];
  u64 sum = 0, squares = 0, n = 0, most = 0;
  for (u64 v = 0; v < 256; ++v) {
    n += count[v];
    sum += v * count[v];
    squares += v * v * count[v];
    most = std::max(most, count[v]);
  }
  mean_ = static_cast<double>(sum) / static_cast<double>(n);
  const double variance = static_cast<double>(squares) / static_cast<double>(n) - mean_ * mean_;
  if (most == n) fail(train_.path(), "all its pixels are the same", "images that differ");
  deviation_ = std::sqrt(variance);
  for (std::size_t v = 0; v < 256; ++v) scaled_[v] = static_cast<float>((static_cast<double>(v) - mean_) / deviation_);
}

Bytes ImageData::memory_bytes() const {
  return Bytes{train_.memory_bytes().count + (test_ ? test_->memory_bytes().count : 0)};
}

void ImageData::put(std::span<const std::byte> pixels, i64 down, i64 right, bool flip, float* out) const {
  const i64 h = height(), w = width();
  for (i64 y = 0; y < h; ++y)
    for (i64 x = 0; x < w; ++x) {
      const i64 from_y = y - down, from_x = (flip ? w - 1 - x : x) - right;
      const bool inside = from_y >= 0 && from_y < h && from_x >= 0 && from_x < w;
      const auto at = static_cast<std::size_t>(from_y * w + from_x);
      *out++ = scaled_[inside ? std::to_integer<std::size_t>(pixels[at]) : 0];
    }
}

void ImageData::draw(u64 seed, i64 first, std::span<float> images, std::span<i32> labels) {
  const auto n = static_cast<u64>(count()), pixels = static_cast<u64>(height() * width());
  const auto span = static_cast<u64>(2 * augmentation_.shift + 1);
  for (std::size_t k = 0; k < labels.size(); ++k) {
    const u64 number = static_cast<u64>(first) + k;
    const auto image = static_cast<i64>(shuffled(number % n, n, mixed(mixed(seed) + number / n)));
    const u64 random = mixed(mixed(~seed) + number);
    const auto shift = [&](u64 r) { return static_cast<i64>((r & 0xffffff) % span) - augmentation_.shift; };
    put(train_.pixels(image), shift(random), shift(random >> 24), augmentation_.flip && random >> 63 != 0,
        images.data() + k * pixels);
    labels[k] = train_.label(image);
  }
}

void ImageData::test(i64 first, std::span<float> images, std::span<i32> labels) {
  const auto pixels = static_cast<std::size_t>(height() * width());
  for (std::size_t k = 0; k < labels.size(); ++k) {
    const i64 image = first + static_cast<i64>(k);
    put(test_->pixels(image), 0, 0, false, images.data() + k * pixels);
    labels[k] = test_->label(image);
  }
}

}  // namespace terrace
