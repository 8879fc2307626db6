// Labelled images from IDX files: a random order of them for training, and those that are only tested on.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "terrace/core/units.h"
#include "terrace/io/idx.h"

namespace terrace {

/// A file of images and the file of their labels. A packed file (.gz) is unpacked into memory, a byte a pixel; of a
/// plain one each image is read when it is needed, past the page cache.
class ImageSet {
 public:
  /// Error(bad_file) naming file and item: no images or no labels in it, another number of labels than of images,
  /// labels that are none of 0 .. classes-1, more than 4 GiB to unpack.
  ImageSet(const std::string& images, const std::string& labels, i64 classes);

  i64 count() const { return static_cast<i64>(file_.items()); }
  i64 height() const { return static_cast<i64>(file_.shape()[1]); }
  i64 width() const { return static_cast<i64>(file_.shape()[2]); }
  const std::string& path() const { return file_.path(); }
  /// Held in memory.
  Bytes memory_bytes() const { return Bytes{pixels_.capacity() + labels_.capacity() + scratch_.capacity()}; }
  int label(i64 i) const { return std::to_integer<int>(labels_[static_cast<std::size_t>(i)]); }
  /// Row by row, a byte a pixel; valid until the next call.
  std::span<const std::byte> pixels(i64 i);

 private:
  io::IdxFile file_;
  std::vector<std::byte> labels_, pixels_, scratch_;
};

struct ImageFiles {
  std::string images, labels;            ///< to train on
  std::string test_images, test_labels;  ///< empty: none
};
/// Changes that leave an image what it is, drawn anew each time.
struct Augmentation {
  i64 shift = 0;      ///< by -shift .. shift pixels down and to the right; what moves in is 0
  bool flip = false;  ///< left and right change places, half of the time
};

class ImageData {
 public:
  /// Errors as ImageSet; also test images of another size, and pixels that are all the same.
  ImageData(const ImageFiles& files, i64 classes, const Augmentation& augmentation);

  i64 height() const { return train_.height(); }
  i64 width() const { return train_.width(); }
  i64 count() const { return train_.count(); }
  i64 test_count() const { return test_ ? test_->count() : 0; }
  Bytes memory_bytes() const;
  /// Of all pixels to train on, from 0 to 255. Images are given as (pixel - mean) / deviation.
  double mean() const { return mean_; }
  double deviation() const { return deviation_; }

  /// Items first, first + 1, ... of an endless row in which each image comes once in every count() of them, in an
  /// order of its own each time: a function of seed and number alone. f32 [n, height, width], i32 [n].
  void draw(u64 seed, i64 first, std::span<float> images, std::span<i32> labels);
  /// Test images in the file's order, from number `first` on.
  void test(i64 first, std::span<float> images, std::span<i32> labels);

 private:
  void measure();
  void put(std::span<const std::byte> pixels, i64 down, i64 right, bool flip, float* out) const;

  ImageSet train_;
  std::optional<ImageSet> test_;
  Augmentation augmentation_;
  double mean_ = 0, deviation_ = 1;
  std::array<float, 256> scaled_{};  ///< by pixel
};

}  // namespace terrace
