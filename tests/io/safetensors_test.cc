#include "terrace/io/safetensors.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "support/gguf_writer.h"
#include "support/memory_file.h"
#include "terrace/core/error.h"

namespace terrace::io {
namespace {

using test::MemoryFile;
using Bytes = std::vector<std::byte>;

/// A file with this header and so many zeros as data.
Bytes file_with(std::string_view header, std::size_t data = 0) {
  test::ByteSink s;
  s.text(header).raw(Bytes(data));
  return s.bytes();
}

/// The error's text, or nothing if the file is accepted.
std::optional<std::string> error_of(const Bytes& bytes) {
  const MemoryFile file(bytes);
  const std::string path = file.path();
  try {
    const SafeTensorsFile f(path);
    for (const SafeTensor& t : f.tensors()) {
      Bytes b(t.bytes);
      f.read(t, 0, b);
      EXPECT_EQ(f.find(t.name), &t);
    }
    f.each_metadata([&](std::string_view k, std::string_view v) { EXPECT_EQ(f.metadata(k), v); });
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
    EXPECT_TRUE(e.where().starts_with(path + ", byte ")) << e.what();
    return e.what();
  }
  return std::nullopt;
}

TensorSpec spec(DType t, std::initializer_list<Dim> dims) { return {t, Layout::dense, Shape(dims)}; }

const std::vector<NamedSpec> kTensors = {{"w", spec(DType::f32, {2, 3})},         {"half", spec(DType::f16, {4})},
                                         {"brain", spec(DType::bf16, {1, 2, 2})}, {"wide", spec(DType::f64, {1})},
                                         {"count", spec(DType::i32, {})},         {"none", spec(DType::f32, {3, 0})}};
constexpr u64 kBytes = 24 + 8 + 8 + 8 + 4;

Bytes counting() {
  Bytes b(kBytes);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<std::byte>(i + 1);
  return b;
}

std::string temp(const char* name) { return testing::TempDir() + name; }

void write_good(const std::string& path, std::size_t piece = kBytes) {
  SafeTensorsWriter w(path, kTensors, {{"format", "pt"}, {"sum", "????"}});
  const Bytes b = counting();
  for (std::size_t at = 0; at < b.size(); at += piece)
    w.append(std::span(b).subspan(at, std::min(piece, b.size() - at)));
  w.replace_metadata("sum", "1378");
  w.close();
}

Bytes bytes_of(const std::string& path) {
  WindowedFile f(path);
  Bytes b(f.size());
  f.read(0, b);
  return b;
}

TEST(SafeTensors, ReadsWhatItWrites) {
  const std::string path = temp("good.safetensors");
  write_good(path, 7);
  const SafeTensorsFile f(path);
  EXPECT_EQ(f.data_offset() % 8, 0u);
  EXPECT_EQ(f.size(), f.data_offset() + kBytes);
  EXPECT_EQ(f.metadata("format"), "pt");
  EXPECT_EQ(f.metadata("sum"), "1378");
  EXPECT_EQ(f.metadata("absent"), std::nullopt);
  ASSERT_EQ(f.tensors().size(), kTensors.size());
  u64 at = f.data_offset();
  const Bytes all = counting();
  for (const NamedSpec& t : kTensors) {
    const SafeTensor* found = f.find(t.name);
    ASSERT_NE(found, nullptr) << t.name;
    EXPECT_EQ(found->spec, t.spec) << t.name;
    EXPECT_EQ(found->bytes, t.spec.bytes({}).count) << t.name;
    EXPECT_EQ(found->offset, at) << t.name;
    Bytes b(found->bytes);
    f.read(*found, 0, b);
    EXPECT_TRUE(std::equal(b.begin(), b.end(), all.begin() + static_cast<std::ptrdiff_t>(at - f.data_offset())));
    at += found->bytes;
  }
  EXPECT_EQ(f.find("absent"), nullptr);
  Bytes two(2);
  EXPECT_THROW(f.read(*f.find("count"), 3, two), Error);
}

TEST(SafeTensors, BytesAsTheFormatsOwnLibraryWritesThem) {
  // Python: safetensors 0.8.0, numpy.save_file({"a": zeros(2, 2) float32, "b": ones(3) float16}, metadata={"k": "v\n"})
  const std::string path = temp("same.safetensors");
  SafeTensorsWriter w(path, {{"a", spec(DType::f32, {2, 2})}, {"b", spec(DType::f16, {3})}},
                      {{"k", "v\n\"\x01\xC3\xA4"}});
  w.append(Bytes(16));
  const std::uint16_t ones[] = {0x3c00, 0x3c00, 0x3c00};
  w.append(std::as_bytes(std::span(ones)));
  w.close();
  std::string json =
      R"({"__metadata__":{"k":"v\n\"\u0001)"
      "\xC3\xA4"
      R"("},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}})";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  test::ByteSink expected;
  expected.text(json).raw(Bytes(16)).raw(std::as_bytes(std::span(ones)));
  EXPECT_EQ(bytes_of(path), expected.bytes());
}

TEST(SafeTensors, AnyLegalHeader) {
  const auto ok = [](std::string_view header, std::size_t data) {
    const auto e = error_of(file_with(header, data));
    EXPECT_EQ(e, std::nullopt) << header << "\n" << e.value_or("");
  };
  ok("{}", 0);
  ok("{}      ", 0);
  ok("{\"__metadata__\":{}}", 0);
  ok("{\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4);
  ok("{ \"a\" :\t{ \"data_offsets\" : [ 0 , 0 ] ,\n \"shape\" : [ 0 , 5 ], \"dtype\" : \"\\u0046\\u00332\" } , "
     "\"__metadata__\""
     " : { \"k\" : \"\\ud83d\\ude00\\/\" } }",
     0);
  ok("{\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[8,12]},"  // names in any order
     "\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]},"
     "\"n\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[8,8]}}",
     12);
  const MemoryFile f(file_with("{\"__metadata__\":{\"\\u00e4\\u20ac\\ud83d\\ude00\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}}"));
  EXPECT_EQ(SafeTensorsFile(f.path()).metadata("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), "\"\\/\b\f\n\r\t");
}

std::string a(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  std::string s = "{\"a\":{\"dtype\":";
  ((((s += dtype) += ",\"shape\":") += shape) += ",\"data_offsets\":") += offsets;
  return s + "}}";
}

TEST(SafeTensors, RefusesBadFiles) {
  struct Bad {
    const char* expected;
    Bytes file;
  };
  const std::string b = ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":";
  const auto two = [&](std::string_view offsets) {
    std::string s = a("\"F32\"", "[1]", "[0,4]");
    s.pop_back();
    return (s += b).append(offsets) + "}}";
  };
  const auto raw = [](std::string_view s) {
    const auto bytes = std::as_bytes(std::span(s));
    return Bytes(bytes.begin(), bytes.end());
  };
  const auto long_length = [](u64 n) { return test::ByteSink().put(n).put(u64{0}).bytes(); };
  const std::string f = "\"F32\"";
  const Bad all[] = {
      {"byte 0: has 0 bytes", {}},
      {"byte 0: has 7 bytes", Bytes(7)},
      {"byte 0: is a GGUF file", raw("GGUF\3......")},
      {"byte 0: is a ZIP archive", raw("PK\3\4......")},
      {"byte 0: is a Git LFS pointer", raw("version https://git-lfs.github.com/spec/v1")},
      {"the header is 100000001 bytes long, at most 100000000", long_length(100'000'001)},
      {"the header is 18446744073709551615 bytes long", long_length(~u64{0})},
      {"the header is 9 bytes long, 8 are left", long_length(9)},
      {"byte 8: the header does not begin with {", Bytes(8)},
      {"byte 8: the header does not begin with {", file_with("[]")},
      {"byte 8: the header does not begin with {", file_with(" {}")},
      {"byte 9: the header ends within a tensor's name", file_with("{")},
      {"byte 9: expected a string as a tensor's name", file_with("{1:2}")},
      {"something other than spaces follows", file_with("{}{}")},
      {"something other than spaces follows", file_with("{}\n")},
      {"expected : in a tensor's name", file_with("{\"a\" 1}")},
      {"tensor 'a': expected { in its value", file_with("{\"a\":1}")},
      {"tensor 'a': expected a string as a key", file_with("{\"a\":{}}")},
      {"tensor 'a': the key 'dtype' is missing", file_with("{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4)},
      {"tensor 'a': the key 'shape' is missing", file_with("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4)},
      {"tensor 'a': the key 'data_offsets' is missing", file_with("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4)},
      {"the key 'dtype' stands twice", file_with("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}")},
      {"byte 14, tensor 'a': the key 'strides' is unknown", file_with("{\"a\":{\"strides\":[1]}}")},
      {"tensor 'a': the element type I64 is not supported", file_with(a("\"I64\"", "[1]", "[0,8]"), 8)},
      {"the element type F8_E4M3 is not supported", file_with(a("\"F8_E4M3\"", "[1]", "[0,1]"), 1)},
      {"expected a string as the dtype", file_with(a("1", "[1]", "[0,4]"), 4)},
      {"expected [ in the shape", file_with(a(f, "4", "[0,4]"), 4)},
      {"expected a whole number, not below zero, in the shape", file_with(a(f, "[-1]", "[0,4]"), 4)},
      {"expected a whole number, not below zero, in the shape", file_with(a(f, "[1.0]", "[0,4]"), 4)},
      {"expected a whole number, not below zero, in the shape", file_with(a(f, "[1e0]", "[0,4]"), 4)},
      {"expected a whole number, not below zero, in the shape", file_with(a(f, "[1,]", "[0,4]"), 4)},
      {"expected a whole number, not below zero, in the shape", file_with(a(f, "[[1]]", "[0,4]"), 4)},
      {"a number with a zero in front", file_with(a(f, "[01]", "[0,4]"), 4)},
      {"a number in the shape does not fit 64 bits", file_with(a(f, "[18446744073709551616]", "[0,4]"), 4)},
      {"a dimension is 9223372036854775808", file_with(a(f, "[9223372036854775808]", "[0,4]"), 4)},
      {"it has more than 4 dimensions", file_with(a(f, "[1,1,1,1,1]", "[0,4]"), 4)},
      {"the number of bytes overflows", file_with(a(f, "[4611686018427387904]", "[0,0]"))},
      {"the number of bytes overflows", file_with(a(f, "[4294967296,2147483648]", "[0,0]"))},
      {"its data are 4 bytes, its shape and type need 8", file_with(a(f, "[2]", "[0,4]"), 4)},
      {"its data begin at 4 and end before, at 0", file_with(a(f, "[1]", "[4,0]"), 4)},
      {"its data end at byte 4 of the data section, which has 3", file_with(a(f, "[1]", "[0,4]"), 3)},
      {"its data end at byte 18446744073709551615", file_with(a(f, "[1]", "[0,18446744073709551615]"), 4)},
      {"expected , in data_offsets", file_with(a(f, "[1]", "[0]"), 4)},
      {"expected ] in data_offsets", file_with(a(f, "[1]", "[0,4,4]"), 4)},
      {"1 bytes follow the data of the last tensor", file_with(a(f, "[1]", "[0,4]"), 5)},
      {"3 bytes follow the data of the last tensor", file_with("{}", 3)},
      {"the data of tensor 'a' begin at byte 4 of the data section, they must at 0: a hole",
       file_with(a(f, "[1]", "[4,8]"), 8)},
      {"tensor 'b' begin at byte 8 of the data section, they must at 4: a hole", file_with(two("[8,12]"), 12)},
      {"tensor 'b' begin at byte 2 of the data section, they must at 4: they overlap", file_with(two("[2,6]"), 6)},
      {"tensor 'b' begin at byte 0 of the data section, they must at 4: they overlap", file_with(two("[0,4]"), 4)},
      {"the tensor 'a' stands twice", file_with("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                                                "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                                                8)},
      {"__metadata__: expected { in its value", file_with("{\"__metadata__\":null}")},
      {"__metadata__: expected a string as a value", file_with("{\"__metadata__\":{\"a\":1}}")},
      {"__metadata__: expected a string as a value", file_with("{\"__metadata__\":{\"a\":{}}}")},
      {"__metadata__: the key stands twice", file_with("{\"__metadata__\":{},\"__metadata__\":{}}")},
      {"byte 32: the key 'a' of __metadata__ stands twice", file_with("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}")},
      {"expected a comma or } in the header", file_with("{\"__metadata__\":{} \"a\"")},
      {"expected a string as a tensor's name", file_with("{\"__metadata__\":{},}")},
      {"a control character stands in a tensor's name", file_with("{\"a\nb\":1}")},
      {"a tensor's name is no UTF-8", file_with("{\"a\xFF\":1}")},
      {"a tensor's name is no UTF-8", file_with("{\"\xC0\x80\":1}")},
      {"a tensor's name is no UTF-8", file_with("{\"\xED\xA0\x80\":1}")},
      {"a bad escape stands in a tensor's name", file_with("{\"\\x\":1}")},
      {"a bad escape stands in a tensor's name", file_with("{\"\\u00g0\":1}")},
      {"half of a surrogate pair", file_with("{\"\\ud800\":1}")},
      {"half of a surrogate pair", file_with("{\"\\udc00\":1}")},
      {"half of a surrogate pair", file_with("{\"\\ud800\\u0041\":1}")},
      {"a tensor's name is longer than 4096 bytes", file_with("{\"" + std::string(4097, 'x') + "\":1}")},
      {"the header ends within a tensor's name", file_with("{\"abc")},
      {"expected { in its value", file_with("{\"a\":" + std::string(100000, '[') + "}")},
  };
  for (const Bad& bad : all) {
    const auto e = error_of(bad.file);
    ASSERT_TRUE(e) << "accepted: " << bad.expected;
    EXPECT_NE(e->find(bad.expected), std::string::npos) << *e << "\nexpected: " << bad.expected;
  }
}

TEST(SafeTensors, TruncatedAnywhereIsAnError) {
  const std::string path = temp("whole.safetensors");
  write_good(path);
  const Bytes whole = bytes_of(path);
  ASSERT_EQ(error_of(whole), std::nullopt);
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_TRUE(error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)})) << "cut at byte " << n;
}

TEST(SafeTensors, FlippedBitsNeverCrash) {
  const std::string path = temp("whole.safetensors");
  write_good(path);
  const Bytes whole = bytes_of(path);
  const u64 header = SafeTensorsFile(path).data_offset();
  int refused = 0;
  for (std::size_t i = 0; i < header; ++i)
    for (int bit = static_cast<int>(i % 3); bit < 8; bit += 3) {
      Bytes b = whole;
      b[i] ^= static_cast<std::byte>(1 << bit);
      refused += error_of(b).has_value();
    }
  EXPECT_GT(refused, 500);
}

TEST(SafeTensors, DataBeginAtAMultipleOfEight) {
  for (std::size_t n = 0; n < 16; ++n) {
    const NamedSpec t{std::string(n, 'x'), spec(DType::f32, {1})};
    EXPECT_EQ(safetensors_header({&t, 1}, {}).size() % 8, 0u) << n;
  }
}

TEST(SafeTensors, WhatCannotBeWritten) {
  const auto message = [](std::vector<NamedSpec> t, Metadata m) -> std::string {
    try {
      (void)safetensors_header(t, m);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::failure);
      return e.what();
    }
    return "accepted";
  };
  const TensorSpec one = spec(DType::f32, {1});
  EXPECT_NE(message({{"a", one}, {"a", one}}, {}).find("stands for something else"), std::string::npos);
  EXPECT_NE(message({{"__metadata__", one}}, {}).find("stands for something else"), std::string::npos);
  EXPECT_NE(message({{"\xFF", one}}, {}).find("no UTF-8"), std::string::npos);
  EXPECT_NE(message({}, {{"k", "\xFF"}}).find("no UTF-8"), std::string::npos);
  EXPECT_NE(message({{"q", {DType::f32, Layout::q8_0, {32}}}}, {}).find("write it dense"), std::string::npos);
  EXPECT_NE(message({{"s", spec(DType::f32, {Dim::of(0)})}}, {}).find("no size"), std::string::npos);
  EXPECT_NE(message({{"h", spec(DType::f32, {i64{1} << 62, 4})}}, {}).find("no size"), std::string::npos);

  const std::string path = temp("unfinished.safetensors");
  std::filesystem::remove(path);
  {
    SafeTensorsWriter w(path, {{"a", one}}, {{"k", "v"}});
    EXPECT_THROW(w.close(), Error);
    EXPECT_THROW(w.append(Bytes(5)), Error);
    EXPECT_THROW(w.replace_metadata("k", "longer"), Error);
    EXPECT_THROW(w.replace_metadata("k", "\n"), Error);  // two characters in the file
    EXPECT_THROW(w.replace_metadata("other", "v"), Error);
    EXPECT_TRUE(std::filesystem::exists(w.temporary()));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace terrace::io
