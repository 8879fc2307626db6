#include "terrace/io/idx.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "support/idx_files.h"
#include "support/memory_file.h"
#include "terrace/core/error.h"

namespace terrace::io {
namespace {

using Bytes = std::vector<std::byte>;

using testing::gzip;

Bytes raw(std::initializer_list<u32> words, std::size_t data = 0, unsigned seed = 1) {
  Bytes b = testing::big_endian(words);
  std::mt19937 random(seed);
  for (std::size_t i = 0; i < data; ++i) b.push_back(static_cast<std::byte>(random() % 4 ? 0 : random()));
  return b;
}

/// The error's text after the path; empty if the file and every item can be read.
std::string error_of(const Bytes& bytes) {
  const test::MemoryFile file(bytes);
  try {
    IdxFile f(file.path());
    Bytes item(f.item_bytes());
    for (u64 i = 0; i < f.items(); ++i) f.read(i, item);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
    EXPECT_TRUE(e.where().starts_with(file.path() + ", byte ")) << e.what();
    return e.what();
  }
  return {};
}

constexpr u32 kImages = 0x803, kLabels = 0x801;

TEST(Idx, PlainAndPackedAreTheSame) {
  const Bytes plain = raw({kImages, 500, 28, 20}, 500 * 28 * 20);
  const test::MemoryFile a(plain), b(gzip(plain));
  IdxFile f(a.path()), g(b.path());
  EXPECT_FALSE(f.packed());
  EXPECT_TRUE(g.packed());
  for (IdxFile* x : {&f, &g}) {
    EXPECT_EQ(x->shape(), (std::vector<u64>{500, 28, 20}));
    EXPECT_TRUE(x->images());
    EXPECT_EQ(x->items(), 500u);
    EXPECT_EQ(x->item_bytes(), 560u);
    EXPECT_EQ(x->data_offset(), 16u);
    const auto same = [&](u64 first, u64 n) {
      Bytes out(n * 560);
      x->read(first, out);
      const auto from = plain.begin() + static_cast<std::ptrdiff_t>(16 + first * 560);
      EXPECT_TRUE(std::equal(out.begin(), out.end(), from)) << first << " " << n;
    };
    same(0, 500), same(0, 1), same(499, 1), same(499, 1), same(17, 3), same(16, 1), same(30, 100), same(500, 0);
    Bytes out(561);
    EXPECT_THROW(x->read(0, out), Error);
    out.resize(1120);
    EXPECT_THROW(x->read(499, out), Error);
    EXPECT_THROW(x->read(~u64{0}, out), Error);
  }
  EXPECT_EQ(error_of(gzip(raw({kLabels, 3}, 3))), "");
  const test::MemoryFile labels(raw({kLabels, 3}, 3));
  const IdxFile l(labels.path());
  EXPECT_FALSE(l.images());
  EXPECT_EQ(l.item_bytes(), 1u);
  EXPECT_EQ(l.data_offset(), 8u);
}

TEST(Idx, RefusesBadFiles) {
  const auto has = [](const Bytes& b, const char* part) {
    const std::string e = error_of(b);
    EXPECT_NE(e.find(part), std::string::npos) << e << "\nexpected: " << part;
  };
  for (const bool packed : {false, true}) {
    const auto both = [&](const Bytes& b, const char* part) { has(packed ? gzip(b) : b, part); };
    both(raw({0x89504e47, 0}), "is no IDX file (images begin with 00 00 08 03");
    both(raw({0xD03, 1, 1, 1}, 4), "holds 32-bit floats (type 0x0d), not unsigned bytes");
    both(raw({0x703, 1, 1, 1}, 1), "holds an unknown type (type 0x07)");
    both(raw({0x802, 1, 1}, 1), "byte 3");
    both(raw({0x800}, 9), "has 0 dimensions");
    both(raw({0x804, 1, 1, 1, 1}, 1), "has 4 dimensions: neither images nor labels");
    both(raw({kImages, 0, 28, 28}), "extent 0 is 0: it holds no data");
    both(raw({kImages, 1, 28, 0}), "extent 2 is 0");
    both(raw({kImages, ~0u, ~0u, ~0u}), "the number of bytes overflows");
    both(raw({kLabels, 5}, 4), "the header says 13 bytes in all, the ");
    both(raw({kLabels, 5}, 6), "the header says 13 bytes in all, the ");
  }
  has({}, "the file ends within its header");
  has(raw({kImages, 1, 1}), "byte 12: the file ends within its header");
  has(raw({kImages, ~0u, ~0u, 1}, 9), "the header says 18446744065119617041 bytes in all, the file has 25");
  has(gzip(raw({kImages, 1})), "unpacks to 8 bytes, at least 12 are needed");
  has(gzip(raw({kImages, ~0u, ~0u, 1}, 9)), "more than ");
}

Bytes joined(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Idx, RefusesDamagedPackedFiles) {
  const Bytes whole = gzip(raw({kLabels, 5000}, 5000));
  const auto has = [](const Bytes& b, const char* part) {
    const std::string e = error_of(b);
    EXPECT_NE(e.find(part), std::string::npos) << e << "\nexpected: " << part;
  };
  ASSERT_EQ(error_of(whole), "");
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_NE(error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)}), "") << n;
  Bytes b = whole;
  b[b.size() - 8] ^= std::byte{1};
  has(b, "the packed data are damaged: incorrect data check");
  b = whole;
  b[2] = std::byte{9};
  has(b, "the packed data are damaged: unknown compression method");
  b = whole;
  b[b.size() - 4] ^= std::byte{1};
  has(b, "the end of the .gz file says ");
  // Two streams, the second one ends as the header says.
  has(joined(gzip(raw({kLabels, 9}, 2)), gzip(raw({}, 17))), "unpacks to 10 bytes, at least 11 are needed");
  has(joined(gzip(raw({kLabels, 9}, 9)), gzip(raw({}, 17))), "bytes follow the end of the packed data");
  // A stream that goes on, whose end lies: what the header justifies is all that is unpacked.
  b = gzip(joined(raw({kLabels, 5000}), Bytes(50 << 20)));
  const u32 stated = 5008;
  std::memcpy(b.data() + b.size() - 4, &stated, 4);
  has(b, "unpacks to more than 5008 bytes");
  // A small file that claims much.
  b = gzip(raw({kImages, 60000, 1 << 10, 1 << 10}, 100));
  has(b, "packed ones can hold");
}

TEST(Idx, FlippedBitsNeverCrash) {
  const Bytes plain = raw({kImages, 2, 3, 4}, 24), packed = gzip(plain);
  for (const Bytes& whole : {plain, packed}) {
    int refused = 0;
    for (std::size_t i = 0; i < whole.size(); ++i)
      for (int bit = 0; bit < 8; ++bit) {
        Bytes b = whole;
        b[i] ^= static_cast<std::byte>(1 << bit);
        refused += !error_of(b).empty();
      }
    EXPECT_GT(refused, 100);
  }
}

}  // namespace
}  // namespace terrace::io
