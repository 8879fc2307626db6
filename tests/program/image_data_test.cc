// Labelled images: their order, their changes, and files that do not go together.
#include "terrace/program/image_data.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "support/idx_files.h"
#include "support/tool.h"
#include "terrace/core/error.h"
#include "terrace/program/mixed.h"

namespace terrace {
namespace {

using testing::gzip;
using testing::idx_images;
using testing::idx_labels;

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> b;
  for (int v : values) b.push_back(static_cast<std::byte>(v));
  return b;
}
std::vector<std::byte> counting(int n, int from = 0) {
  std::vector<std::byte> b;
  for (int i = 0; i < n; ++i) b.push_back(static_cast<std::byte>(from + i));
  return b;
}

class Images : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::vector<std::byte>& b) {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
    return folder_ / name;
  }
  /// Seven images of 2 x 3; pixels count from 1 on, labels from 0.
  ImageFiles seven(bool packed = false) {
    const auto pack = [&](std::vector<std::byte> b) { return packed ? gzip(std::move(b)) : b; };
    const std::string end = packed ? ".gz" : "";
    ImageFiles f;
    f.images = write("images" + end, pack(idx_images(2, 3, counting(42, 1))));
    f.labels = write("labels" + end, pack(idx_labels(counting(7))));
    f.test_images = write("test_images" + end, pack(idx_images(2, 3, counting(12, 101))));
    f.test_labels = write("test_labels" + end, pack(idx_labels(bytes({6, 3}))));
    return f;
  }
  struct Batch {
    std::vector<float> images;
    std::vector<i32> labels;
  };
  static Batch draw(ImageData& d, u64 seed, i64 first, i64 n) {
    Batch b{std::vector<float>(static_cast<std::size_t>(n * d.height() * d.width())),
            std::vector<i32>(static_cast<std::size_t>(n))};
    d.draw(seed, first, b.images, b.labels);
    return b;
  }
  /// The byte that a number stands for.
  static int pixel(const ImageData& d, float x) {
    return static_cast<int>(std::lround(static_cast<double>(x) * d.deviation() + d.mean()));
  }
  testing::TemporaryFolder folder_;
};

TEST(Shuffled, EveryPlaceComesOnceInAnOrderOfTheKeys) {
  for (const u64 n : {1u, 2u, 3u, 5u, 64u, 65u, 1000u}) {
    std::set<u64> seen;
    for (u64 i = 0; i < n; ++i) seen.insert(shuffled(i, n, 9));
    EXPECT_EQ(seen.size(), n);
    EXPECT_EQ(*seen.rbegin(), n - 1);
  }
  // How often place 0 gets each of five numbers: 2000 times, give or take five deviations of a binomial.
  int count[5] = {}, follow = 0;
  for (u64 key = 0; key < 10000; ++key) {
    ++count[shuffled(0, 5, key)];
    follow += shuffled(1, 5, key) == (shuffled(0, 5, key) + 1) % 5;
  }
  for (int c : count) EXPECT_NEAR(c, 2000, 200);
  EXPECT_NEAR(follow, 2500, 220);
}

TEST_F(Images, EachComesOnceInAnEpochAndIsScaled) {
  for (const bool packed : {false, true}) {
    ImageData d(seven(packed), 7, {});
    EXPECT_DOUBLE_EQ(d.mean(), 21.5);  // of 1 .. 42
    EXPECT_NEAR(d.deviation(), std::sqrt((42.0 * 42 - 1) / 12), 1e-12);
    EXPECT_EQ(d.count(), 7);
    EXPECT_EQ(d.test_count(), 2);
    std::vector<i32> orders[2];
    for (int epoch = 0; epoch < 2; ++epoch) {
      const Batch b = draw(d, 5, 7 * epoch, 7);
      orders[epoch] = b.labels;
      EXPECT_EQ(std::set<i32>(b.labels.begin(), b.labels.end()).size(), 7u);
      for (std::size_t i = 0; i < b.images.size(); ++i)
        EXPECT_EQ(pixel(d, b.images[i]), b.labels[i / 6] * 6 + static_cast<int>(i % 6) + 1);
    }
    EXPECT_NE(orders[0], orders[1]);
    EXPECT_NE(draw(d, 6, 0, 7).labels, orders[0]) << "another seed";
    std::vector<float> x(12);
    std::vector<i32> y(2);
    d.test(0, x, y);
    EXPECT_EQ(y, (std::vector<i32>{6, 3}));
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(pixel(d, x[i]), 101 + static_cast<int>(i));
    EXPECT_GE(d.memory_bytes().count, packed ? 63u : 21u);
  }
}

TEST_F(Images, ABatchIsAFunctionOfSeedAndNumberAlone) {
  const Augmentation all{1, true};
  ImageData plain(seven(), 7, all), packed(seven(true), 7, all);
  const Batch whole = draw(plain, 3, 0, 40);
  for (const i64 at : {33, 0, 17, 5}) {  // as a resumed run would, in any order
    const Batch part = draw(packed, 3, at, 6);
    EXPECT_TRUE(std::equal(part.labels.begin(), part.labels.end(), whole.labels.begin() + at));
    EXPECT_TRUE(std::equal(part.images.begin(), part.images.end(), whole.images.begin() + at * 6));
  }
}

/// Each of 3 x 3 shifts, flipped or not, is what it should be, and comes about as often as the others.
TEST_F(Images, ShiftsAndFlips) {
  ImageFiles f;
  f.images = write("images", idx_images(2, 3, counting(6, 1)));
  f.labels = write("labels", idx_labels(bytes({0})));
  ImageData d(f, 1, {1, true});
  std::map<std::vector<int>, int> want, got;
  for (int down = -1; down <= 1; ++down)
    for (int right = -1; right <= 1; ++right)
      for (const bool flip : {false, true}) {
        std::vector<int> moved(6, 0);
        for (int y = 0; y < 2; ++y)
          for (int x = 0; x < 3; ++x) {
            const int to_y = y + down, to_x = x + right;
            if (to_y < 0 || to_y > 1 || to_x < 0 || to_x > 2) continue;
            moved[static_cast<std::size_t>(3 * to_y + (flip ? 2 - to_x : to_x))] = 3 * y + x + 1;
          }
        want[moved] = 0;
      }
  ASSERT_EQ(want.size(), 18u);
  const Batch b = draw(d, 1, 0, 18000);
  for (std::size_t i = 0; i < b.images.size(); i += 6) {
    std::vector<int> image;
    for (std::size_t j = 0; j < 6; ++j) image.push_back(pixel(d, b.images[i + j]));
    ++got[image];
  }
  EXPECT_EQ(got.size(), 18u);
  for (const auto& [image, n] : got) {
    EXPECT_TRUE(want.contains(image));
    EXPECT_NEAR(n, 1000, 160);
  }
}

TEST_F(Images, FilesThatDoNotGoTogether) {
  const ImageFiles sound = seven();
  const auto refused = [&](auto change, const std::string& part, const std::string& file) {
    ImageFiles f = sound;
    change(f);
    try {
      ImageData d(f, 7, {});
      ADD_FAILURE() << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
      EXPECT_NE(e.message().find(part), std::string::npos) << e.what();
      EXPECT_NE(e.where().find(file), std::string::npos) << e.what();
    }
  };
  refused([&](ImageFiles& f) { f.images = f.labels; }, "labels, not images", "labels");
  refused([&](ImageFiles& f) { f.labels = f.images; }, "images, not labels", "images");
  refused([&](ImageFiles& f) { f.labels = f.test_labels; }, "2 labels for 7 images", "test_labels");
  refused(
      [&](ImageFiles& f) {
        f.labels = write("large", idx_labels(bytes({0, 1, 2, 7, 4, 5, 6})));
      },
      "label 3 is 7, none of 7 classes", "large");
  refused([&](ImageFiles& f) { f.test_images = write("wide", idx_images(3, 2, counting(12))); },
          "3 x 2 pixels, those to train on 2 x 3", "wide");
  refused([&](ImageFiles& f) { f.images = write("grey", idx_images(2, 3, std::vector(42, std::byte{9}))); },
          "all its pixels are the same", "grey");
  refused([&](ImageFiles& f) { f.images = write("none", testing::big_endian({0x803, 0, 2, 3})); }, "no data", "none");
  auto cut = idx_images(2, 3, counting(42));
  cut.resize(40);
  refused([&](ImageFiles& f) { f.images = write("cut", cut); }, "the file has 40", "cut");
  auto packed = gzip(idx_images(2, 3, counting(42)));
  packed.resize(packed.size() / 2);
  refused([&](ImageFiles& f) { f.images = write("cut.gz", packed); }, "", "cut.gz");
  refused([&](ImageFiles& f) { f.images = folder_ / "nothing"; }, "cannot be opened", "nothing");
}

}  // namespace
}  // namespace terrace
