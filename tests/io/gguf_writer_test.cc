#include "terrace/io/gguf_writer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "terrace/core/error.h"

namespace terrace::io {
namespace {

const std::string kVocabulary = std::string(TERRACE_TEST_DATA) + "/tokenizer/smollm-vocab.gguf";

std::vector<std::byte> bytes(u64 n, int seed) {
  std::vector<std::byte> b(n);
  for (u64 i = 0; i < n; ++i) b[i] = static_cast<std::byte>(i * 7 + static_cast<u64>(seed));
  return b;
}

std::vector<std::byte> read(const GgufFile& f, u64 at, u64 n) {
  std::vector<std::byte> b(n);
  f.file().read(at, b);
  return b;
}

TEST(GgufWriter, WhatIsWrittenIsRead) {
  const std::string path = ::testing::TempDir() + "written.gguf";
  const GgufFile from(kVocabulary);
  GgufKeys keys;
  for (const GgufEntry& e : from.entries()) keys.copy(from, e);  // strings, numbers, arrays of each
  keys.text("a.text", "terrace");
  keys.number("a.number", 0xfedcba98u);
  keys.real("a.real", -1.5f);
  const std::vector<NewGgufTensor> tensors = {{"three", {DType::f32, Layout::dense, {Dim(3)}}},
                                              {"halves", {DType::f16, Layout::dense, {Dim(5), Dim(7)}}},
                                              {"blocks", {DType::f32, Layout::q4_0, {Dim(3), Dim(64)}}},
                                              {"minima", {DType::f32, Layout::q4_1, {Dim(2), Dim(3), Dim(32)}}},
                                              {"bytes", {DType::f32, Layout::q8_0, {Dim(1), Dim(32)}}}};
  {
    GgufWriter w(path, keys, tensors);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto all = bytes(tensors[i].spec.bytes({}).count, static_cast<int>(i));
      w.append(std::span(all).first(5));
      w.append(std::span(all).subspan(5));
    }
    w.close();
  }
  const GgufFile f(path);
  EXPECT_EQ(f.get_string("a.text"), "terrace");
  EXPECT_EQ(f.get_uint("a.number"), 0xfedcba98u);
  EXPECT_EQ(f.get_float("a.real"), -1.5);
  ASSERT_EQ(f.entries().size(), from.entries().size() + 3);
  for (const GgufEntry& e : from.entries()) {
    const GgufEntry* x = f.find(e.key);
    ASSERT_NE(x, nullptr) << e.key;
    EXPECT_TRUE(x->type == e.type && x->count == e.count && x->scalar == e.scalar && x->bytes == e.bytes) << e.key;
    EXPECT_EQ(read(f, x->offset, x->bytes), read(from, e.offset, e.bytes)) << e.key;
  }
  ASSERT_EQ(f.tensors().size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const GgufTensor& t = f.tensors()[i];
    EXPECT_EQ(t.name, tensors[i].name);
    EXPECT_EQ(t.spec, tensors[i].spec) << t.name;
    EXPECT_EQ(read(f, t.offset, t.bytes), bytes(t.bytes, static_cast<int>(i))) << t.name;
  }
  std::filesystem::remove(path);
}

TEST(GgufWriter, AppearsWholeOrNotAtAll) {
  const std::string path = ::testing::TempDir() + "unwritten.gguf";
  const std::vector<NewGgufTensor> one = {{"x", {DType::f32, Layout::dense, {Dim(4)}}}};
  {
    GgufWriter w(path, {}, one);
    w.append(bytes(12, 0));
    EXPECT_THROW(w.append(bytes(5, 0)), Error) << "more than the tensor has";
    EXPECT_THROW(w.close(), Error) << "four bytes are missing";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  const auto refused = [&](const std::string& name, TensorSpec spec) {
    EXPECT_THROW(GgufWriter(path, {}, {{name, spec}}), Error) << name;
  };
  refused("", one[0].spec);
  refused(std::string(64, 'x'), one[0].spec);
  refused("i32", {DType::i32, Layout::dense, {Dim(4)}});
  refused("f64", {DType::f64, Layout::dense, {Dim(4)}});
  refused("q8a", {DType::f32, Layout::q8a, {Dim(1), Dim(32)}});
}

}  // namespace
}  // namespace terrace::io
