#include "terrace/io/gguf.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "support/gguf_writer.h"
#include "support/memory_file.h"
#include "terrace/core/error.h"

namespace terrace::io {
namespace {

using test::GgufWriter, test::MemoryFile;
using Bytes = std::vector<std::byte>;

std::string temp(const char* name) { return testing::TempDir() + name; }

/// The error's text, or nothing if the file is accepted.
std::optional<std::string> error_of(const Bytes& bytes) {
  const MemoryFile file(bytes);
  const std::string path = file.path();
  try {
    const GgufFile f(path);
    for (const GgufEntry& e : f.entries()) {
      if (e.type != GgufType::array) continue;
      if (e.element == GgufType::string)
        f.each_string(e, [](u64, std::string_view) {});
      else
        f.each_number(e, [](u64, double) {});
    }
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
    EXPECT_NE(e.where().find(path), std::string::npos) << e.what();
    return e.what();
  }
  return std::nullopt;
}

Bytes zeros(std::size_t n) { return Bytes(n); }

/// A file with every type of value and of tensor.
GgufWriter good() {
  GgufWriter w;
  w.kv_string("general.architecture", "llama");
  w.kv_u32("n.u32", 7);
  w.kv_i32("n.i32", -7);
  w.kv_u64("n.u64", 1ull << 40);
  w.kv_f32("x.f32", 0.5f);
  w.kv_bool("b", true);
  w.kv_strings("words", {"one", "", "three"});
  w.kv_i32s("numbers", {3, -4});
  w.kv_f32s("floats", {0.25f});
  w.tensor("a", {2, 3}, test::kF32, test::to_bytes({1, 2, 3, 4, 5, 6}));
  w.tensor("b", {5}, test::kF16, zeros(10));
  w.tensor("c", {2, 2, 32}, test::kQ8_0, zeros(4 * 34));
  w.tensor("d", {1, 64}, test::kQ4_0, zeros(36));
  w.tensor("e", {3, 2, 2, 32}, test::kQ4_1, zeros(12 * 20));
  return w;
}

TEST(Gguf, ReadsWhatWasWritten) {
  const std::string path = temp("good.gguf");
  good().save(path);
  const GgufFile f(path);
  EXPECT_EQ(f.entries().size(), 9u);
  EXPECT_EQ(f.get_string("general.architecture"), "llama");
  EXPECT_EQ(f.get_uint("n.u32"), 7u);
  EXPECT_EQ(f.get_uint("n.u64"), u64{1} << 40);
  EXPECT_EQ(f.get_float("x.f32"), 0.5);
  EXPECT_EQ(f.get_bool("b"), true);
  EXPECT_EQ(f.get_uint("absent"), std::nullopt);
  EXPECT_EQ(f.get_string("absent"), std::nullopt);
  std::vector<std::string> words;
  f.each_string(*f.find("words"),
                [&](u64 i, std::string_view s) { words.push_back(std::to_string(i) + std::string(s)); });
  EXPECT_EQ(words, (std::vector<std::string>{"0one", "1", "2three"}));
  std::vector<double> numbers;
  f.each_number(*f.find("numbers"), [&](u64, double x) { numbers.push_back(x); });
  f.each_number(*f.find("floats"), [&](u64, double x) { numbers.push_back(x); });
  EXPECT_EQ(numbers, (std::vector<double>{3, -4, 0.25}));

  ASSERT_EQ(f.tensors().size(), 5u);
  EXPECT_EQ(to_string(f.tensors()[0].spec), "f32[2, 3]");
  EXPECT_EQ(to_string(f.tensors()[1].spec), "f16[5]");
  EXPECT_EQ(to_string(f.tensors()[2].spec), "q8_0[2, 2, 32]");
  EXPECT_EQ(to_string(f.tensors()[3].spec), "q4_0[1, 64]");
  EXPECT_EQ(to_string(f.tensors()[4].spec), "q4_1[3, 2, 2, 32]");
  EXPECT_EQ(f.tensors()[0].offset, f.data_offset());
  for (const GgufTensor& t : f.tensors()) EXPECT_EQ(t.offset % 32, 0u);
  EXPECT_EQ(f.tensors()[4].offset + f.tensors()[4].bytes, f.size());
  std::vector<float> a(6);
  ASSERT_EQ(f.find_tensor("a")->bytes, 24u);
  f.file().read(f.find_tensor("a")->offset, std::as_writable_bytes(std::span(a)));
  EXPECT_EQ(a, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(f.find_tensor("none"), nullptr);
}

TEST(Gguf, WrongTypesNameTheKey) {
  const std::string path = temp("types.gguf");
  good().save(path);
  const GgufFile f(path);
  const auto message = [](const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(message([&] { f.get_uint("n.i32"); }).find("key 'n.i32': is of type i32"), std::string::npos);
  EXPECT_NE(message([&] { f.get_uint("x.f32"); }).find("key 'x.f32'"), std::string::npos);
  EXPECT_NE(message([&] { f.get_uint("numbers"); }).find("is of type array"), std::string::npos);
  EXPECT_NE(message([&] { f.get_float("n.u32"); }).find("expected a float"), std::string::npos);
  EXPECT_NE(message([&] { f.get_string("b"); }).find("expected a string"), std::string::npos);
  EXPECT_NE(message([&] { f.get_bool("n.u32"); }).find("expected a bool"), std::string::npos);
  EXPECT_NE(message([&] { f.each_string(*f.find("numbers"), {}); }).find("array of strings"), std::string::npos);
  EXPECT_NE(message([&] { f.each_number(*f.find("words"), {}); }).find("array of numbers"), std::string::npos);
}

TEST(Gguf, PaddingAfterTheLastTensorIsOptional) {
  GgufWriter w;
  w.tensor("a", {5}, test::kF32, zeros(20));
  Bytes b = w.bytes();
  EXPECT_EQ(error_of(b), std::nullopt);
  b.resize(b.size() + 12);
  EXPECT_EQ(error_of(b), std::nullopt);
  b.resize(b.size() + 1);
  EXPECT_NE(error_of(b).value_or("").find("13 bytes follow the end"), std::string::npos);
}

TEST(Gguf, AlignmentIsKept) {
  GgufWriter w;
  w.set_alignment(256);
  w.kv_u32("general.alignment", 256);
  w.tensor("a", {1}, test::kF32, zeros(4));
  w.tensor("b", {1}, test::kF32, zeros(4));
  const MemoryFile file(w.bytes());
  const GgufFile f(file.path());
  EXPECT_EQ(f.alignment(), 256u);
  EXPECT_EQ(f.tensors()[1].offset, 512u);
}

TEST(Gguf, LongStringsStayInTheFile) {
  GgufWriter w;
  const std::string text(70000, 'x');
  w.kv_string("long", text);
  w.kv_strings("list", {text, "y"});
  const MemoryFile file(w.bytes());
  const GgufFile f(file.path());
  EXPECT_EQ(f.find("long")->bytes, text.size());
  EXPECT_THROW(f.get_string("long"), Error);
  std::size_t sum = 0;
  f.each_string(*f.find("list"), [&](u64, std::string_view s) { sum += s.size(); });
  EXPECT_EQ(sum, 70001u);
}

struct Bad {
  const char* expected;  ///< part of the message
  std::function<void(GgufWriter&)> make;
};

/// `value` as the bytes of a key's value.
template <class... T>
Bytes pack(T... value) {
  test::ByteSink s;
  (s.put(value), ...);
  return s.bytes();
}

const std::vector<Bad> kBad = {
    {"this is not a GGUF file", [](GgufWriter& w) { w.set_magic("GUFG"); }},
    {"byte 0: this is a GGML file from before GGUF", [](GgufWriter& w) { w.set_magic("tjgg"); }},
    {"this is a zip archive", [](GgufWriter& w) { w.set_magic("PK\x03\x04"); }},
    {"byte 4: GGUF version 1 is not supported", [](GgufWriter& w) { w.set_version(1); }},
    {"byte 4: GGUF version 2 is not supported", [](GgufWriter& w) { w.set_version(2); }},
    {"byte 4: GGUF version 4 is not supported", [](GgufWriter& w) { w.set_version(4); }},
    {"big-endian GGUF file", [](GgufWriter& w) { w.set_version(0x03000000); }},
    {"byte 8: 0 tensors and 1152921504606846976 keys cannot be in a file",
     [](GgufWriter& w) { w.set_counts(0, u64{1} << 60); }},
    {"18446744073709551615 tensors and 0 keys cannot", [](GgufWriter& w) { w.set_counts(~u64{0}, 0); }},
    {"a key is empty", [](GgufWriter& w) { w.kv_u32("", 1); }},
    {"key 'a?': a key has characters", [](GgufWriter& w) { w.kv_u32("a\n", 1); }},
    {"a key has characters", [](GgufWriter& w) { w.kv_u32("\xc3\xa4", 1); }},
    {"byte 8: 0 tensors and 7 keys cannot be in a file of 24 bytes", [](GgufWriter& w) { w.set_counts(0, 7); }},
    {"byte 16: 4097 keys: at most 4096 are supported",
     [](GgufWriter& w) {
       for (int i = 0; i < 4097; ++i) w.kv_bool(std::to_string(i), true);
     }},
    {"the file ends in a key: 4 bytes are left, 4611686018427387904 needed",
     [](GgufWriter& w) { w.kv_raw("k", 10, pack(u64{0}, u64{1} << 62, u32{0})), w.set_counts(0, 2); }},
    {"a key is 65536 bytes long", [](GgufWriter& w) { w.kv_u32(std::string(65536, 'k'), 1); }},
    {"key 'k' occurs twice", [](GgufWriter& w) { w.kv_u32("k", 1), w.kv_f32("k", 1); }},
    {"key 'k': value type 13 does not exist", [](GgufWriter& w) { w.kv_raw("k", 13, pack(0)); }},
    {"key 'k': a bool is 2", [](GgufWriter& w) { w.kv_raw("k", 7, pack(std::uint8_t{2})); }},
    {"key 'k': the file ends in a string", [](GgufWriter& w) { w.kv_raw("k", 8, pack(~u64{0})); }},
    {"an array of arrays is not supported", [](GgufWriter& w) { w.kv_raw("k", 9, pack(u32{9}, u64{0})); }},
    {"array element type 99 does not exist", [](GgufWriter& w) { w.kv_raw("k", 9, pack(u32{99}, u64{0})); }},
    {"an array of 4611686018427387905 elements does not fit",
     [](GgufWriter& w) { w.kv_raw("k", 9, pack(u32{4}, (u64{1} << 62) + 1)); }},
    {"the file ends in a string of an array: 0 bytes are left, 9 needed",
     [](GgufWriter& w) { w.kv_raw("k", 9, pack(u32{8}, u64{1}, u64{9})); }},
    {"general.alignment must be", [](GgufWriter& w) { w.kv_u32("general.alignment", 0); }},
    {"general.alignment must be", [](GgufWriter& w) { w.kv_u32("general.alignment", 4); }},
    {"general.alignment must be", [](GgufWriter& w) { w.kv_u32("general.alignment", 48); }},
    {"general.alignment must be", [](GgufWriter& w) { w.kv_u64("general.alignment", 32); }},
    {"general.alignment must be", [](GgufWriter& w) { w.kv_string("general.alignment", "32"); }},
    {"bytes are missing",
     [](GgufWriter& w) { w.kv_u32("general.alignment", u32{1} << 31), w.tensor_raw("t", {1}, 0, 0); }},
    {"a tensor's name is 64 bytes long", [](GgufWriter& w) { w.tensor(std::string(64, 't'), {1}, 0, zeros(4)); }},
    {"the name is empty", [](GgufWriter& w) { w.tensor("", {1}, 0, zeros(4)); }},
    {"tensor 't' occurs twice",
     [](GgufWriter& w) { w.tensor("t", {1}, 0, zeros(4)), w.tensor("t", {1}, 0, zeros(4)); }},
    {"tensor 't?': the name is empty, no UTF-8, or has control characters",
     [](GgufWriter& w) { w.tensor("t\x1b", {1}, 0, zeros(4)); }},
    {"no UTF-8", [](GgufWriter& w) { w.tensor("t\xff", {1}, 0, zeros(4)); }},
    {"no UTF-8", [](GgufWriter& w) { w.tensor("t\xc2\x9b", {1}, 0, zeros(4)); }},
    {"tensor 't': 0 dimensions", [](GgufWriter& w) { w.tensor("t", {}, 0, zeros(4)); }},
    {"tensor 't': 5 dimensions",
     [](GgufWriter& w) {
       w.tensor("t", {1, 1, 1, 1, 1}, 0, zeros(4));
     }},
    {"tensor 't': a dimension is 0",
     [](GgufWriter& w) {
       w.tensor("t", {2, 0}, 0, zeros(4));
     }},
    {"a dimension is 18446744073709551615", [](GgufWriter& w) { w.tensor("t", {~u64{0}}, 0, zeros(4)); }},
    {"a dimension is 9223372036854775808", [](GgufWriter& w) { w.tensor("t", {u64{1} << 63}, 0, zeros(4)); }},
    {"the number of elements overflows",
     [](GgufWriter& w) {
       w.tensor("t", {u64{1} << 31, u64{1} << 32, 2}, 0, zeros(4));
     }},
    {"the number of bytes overflows", [](GgufWriter& w) { w.tensor("t", {u64{1} << 62}, 0, zeros(4)); }},
    {"tensor 't': rows of 33 elements are not whole blocks", [](GgufWriter& w) { w.tensor("t", {33}, 8, zeros(64)); }},
    {"tensor 't': tensor type Q4_K is not supported", [](GgufWriter& w) { w.tensor("t", {256}, 12, zeros(144)); }},
    {"tensor type BF16 is not supported", [](GgufWriter& w) { w.tensor("t", {2}, 30, zeros(4)); }},
    {"tensor type Q5_0 is not supported", [](GgufWriter& w) { w.tensor("t", {32}, 6, zeros(22)); }},
    {"tensor type MXFP4 is not supported", [](GgufWriter& w) { w.tensor("t", {32}, 39, zeros(17)); }},
    {"tensor type number 4294967295 is unknown", [](GgufWriter& w) { w.tensor("t", {2}, ~u32{0}, zeros(4)); }},
    {"tensor 't': its data are at offset 4 of the data section, they must be at 0",
     [](GgufWriter& w) { w.tensor_raw("t", {1}, 0, 4), w.data_raw(zeros(8)); }},
    {"tensor 'u': its data are at offset 0 of the data section, they must be at 32",
     [](GgufWriter& w) { w.tensor("t", {1}, 0, zeros(4)), w.tensor_raw("u", {1}, 0, 0); }},
    {"tensor 'u': its data are at offset 64 of the data section, they must be at 32",
     [](GgufWriter& w) { w.tensor("t", {1}, 0, zeros(4)), w.tensor_raw("u", {1}, 0, 64), w.data_raw(zeros(100)); }},
    {"tensor 't': its data are at offset 18446744073709551584 of the data section",
     [](GgufWriter& w) { w.tensor_raw("t", {8}, 0, ~u64{0} - 31), w.data_raw(zeros(32)); }},
    {"at least 1 bytes are missing", [](GgufWriter& w) { w.tensor("t", {25}, 0, zeros(99)); }},
    {"bytes are missing",
     [](GgufWriter& w) {
       w.tensor_raw("t", {1, 1 << 20}, 0, 0);
     }},
    {"bytes follow the end of the data", [](GgufWriter& w) { w.data_raw(zeros(64)); }},
};

TEST(Gguf, RefusesBadFiles) {
  for (const Bad& bad : kBad) {
    GgufWriter w;
    bad.make(w);
    const std::optional<std::string> e = error_of(w.bytes());
    ASSERT_TRUE(e) << "accepted: " << bad.expected;
    EXPECT_NE(e->find(bad.expected), std::string::npos) << *e << "\nexpected: " << bad.expected;
  }
}

TEST(Gguf, TruncatedAnywhereIsAnError) {
  const Bytes whole = good().bytes();
  ASSERT_EQ(error_of(whole), std::nullopt);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto e = error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)});
    EXPECT_TRUE(e) << "cut at byte " << n;
  }
}

TEST(Gguf, FlippedBitsNeverCrash) {
  const Bytes whole = good().bytes();
  int refused = 0;
  const MemoryFile file(whole);
  const u64 header = GgufFile(file.path()).data_offset();
  for (std::size_t i = 0; i < header; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes b = whole;
      b[i] ^= static_cast<std::byte>(1 << bit);
      refused += error_of(b).has_value();
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Gguf, NoFile) {
  for (const std::string& path : {temp("does_not_exist.gguf"), std::string("/dev/null"), testing::TempDir()}) {
    try {
      GgufFile f(path);
      FAIL() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      EXPECT_EQ(e.where(), path);
    }
  }
}

}  // namespace
}  // namespace terrace::io
