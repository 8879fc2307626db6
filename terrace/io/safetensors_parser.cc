#include "terrace/io/safetensors_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "terrace/core/error.h"
#include "terrace/core/utf8.h"

namespace terrace::io {
namespace {

constexpr u64 kMaxName = 4096;
constexpr u64 kMaxText = kMaxSafeTensorsHeader;
constexpr std::string_view kMetadata = "__metadata__";

std::string shown(std::string_view s) { return without_controls(s.substr(0, 80)) + (s.size() > 80 ? "..." : ""); }

}  // namespace

void SafeTensorsParser::fail(u64 at, std::string_view what, std::string_view hint) const {
  std::string where = fmt::format("{}, byte {}", f_.path(), at);
  if (!subject_.empty()) where += ", " + subject_;
  throw Error(ErrorKind::bad_file, std::string(what), std::move(where), std::string(hint));
}

void SafeTensorsParser::parse() {
  pass(false);
  f_.tensors_.reserve(tensors_);
  f_.metadata_.reserve(entries_);
  f_.text_.reserve(characters_);
  pass(true);
}

void SafeTensorsParser::pass(bool keep) {
  at_ = begin_;
  bool described = false;
  if (peek() != '{') fail(at_, "the header does not begin with {", "this is no safetensors file, or a damaged one");
  ++at_;
  space();
  if (peek() == '}') {
    ++at_;
  } else {
    do {
      space();
      const u64 entry = at_;
      name_.clear();
      text(&name_, kMaxName, "a tensor's name");
      subject_ = name_ == kMetadata ? std::string(kMetadata) : fmt::format("tensor '{}'", shown(name_));
      expect(':', "a tensor's name");
      if (name_ != kMetadata) {
        tensor(keep, entry);
      } else {
        if (described) fail(entry, "the key stands twice");
        described = true;
        metadata(keep);
      }
      subject_.clear();
    } while (more('}', "the header"));
  }
  for (; at_ < end_; ++at_)
    if (peek() != ' ') fail(at_, "something other than spaces follows the header's last }");
}

void SafeTensorsParser::metadata(bool keep) {
  expect('{', "its value: it must be an object of strings");
  space();
  if (peek() == '}') {
    ++at_;
    return;
  }
  do {
    space();
    SafeTensorsFile::Entry e;
    std::string* out = keep ? &f_.text_ : nullptr;
    e.position = static_cast<u32>(at_);
    e.at = static_cast<u32>(f_.text_.size());
    e.key = static_cast<u32>(text(out, kMaxName, "a key"));
    expect(':', "a key");
    space();
    e.value = static_cast<u32>(text(out, kMaxText, "a value"));
    if (keep)
      f_.metadata_.push_back(e);
    else
      ++entries_, characters_ += e.key + e.value;
  } while (more('}', "the object"));
}

void SafeTensorsParser::tensor(bool keep, u64 entry) {
  SafeTensor t;
  t.entry = entry;
  u64 begin = 0, end = 0;
  bool has_type = false, has_shape = false, has_offsets = false;
  expect('{', "its value: it must be an object");
  do {
    space();
    const u64 at = at_;
    std::string key;
    text(&key, 64, "a key");
    expect(':', "a key");
    space();
    bool& seen = key == "dtype" ? has_type : key == "shape" ? has_shape : has_offsets;
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      fail(at, fmt::format("the key '{}' is unknown", shown(key)), "the format has dtype, shape and data_offsets");
    if (seen) fail(at, fmt::format("the key '{}' stands twice", key));
    seen = true;
    if (key == "dtype") {
      t.spec.dtype = dtype();
    } else if (key == "shape") {
      shape(t.spec);
    } else {
      expect('[', "data_offsets: it must be a list of two numbers");
      begin = number("data_offsets");
      expect(',', "data_offsets");
      end = number("data_offsets");
      expect(']', "data_offsets: it must be a list of two numbers");
    }
  } while (more('}', "the object"));
  for (const auto& [has, key] : {std::pair(has_type, "dtype"), {has_shape, "shape"}, {has_offsets, "data_offsets"}})
    if (!has) fail(entry, fmt::format("the key '{}' is missing", key));

  u64 bytes = dense_bytes(t.spec.dtype);
  for (int a = 0; a < t.spec.shape.rank; ++a)
    if (__builtin_mul_overflow(bytes, static_cast<u64>(t.spec.shape[a].value), &bytes))
      fail(entry, "the number of bytes overflows");
  const u64 data = f_.size() - end_;
  if (begin > end) fail(entry, fmt::format("its data begin at {} and end before, at {}", begin, end));
  if (end > data)
    fail(entry, fmt::format("its data end at byte {} of the data section, which has {}", end, data),
         "the file is cut short: download it again");
  if (end - begin != bytes)
    fail(entry, fmt::format("its data are {} bytes, its shape and type need {}", end - begin, bytes));
  t.offset = end_ + begin;
  t.bytes = bytes;
  if (!keep) {
    ++tensors_;
    return;
  }
  t.name = name_;
  f_.tensors_.push_back(std::move(t));
}

DType SafeTensorsParser::dtype() {
  const u64 at = at_;
  std::string name;
  text(&name, 64, "the dtype");
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  if (name == "F64") return DType::f64;
  if (name == "I32") return DType::i32;
  fail(at, fmt::format("the element type {} is not supported", shown(name)),
       "convert the tensor to F32, F16, BF16, F64 or I32, or leave it out of the file");
}

void SafeTensorsParser::shape(TensorSpec& spec) {
  expect('[', "the shape: it must be a list of numbers");
  space();
  if (peek() == ']') {
    ++at_;
    return;
  }
  do {
    const u64 at = at_;
    const u64 n = number("the shape");
    if (n > static_cast<u64>(std::numeric_limits<i64>::max())) fail(at, fmt::format("a dimension is {}", n));
    if (spec.shape.rank == kMaxRank) fail(at, fmt::format("it has more than {} dimensions", kMaxRank), "reshape it");
    spec.shape[spec.shape.rank++] = static_cast<i64>(n);
  } while (more(']', "the shape"));
}

/// The next byte, or -1 at the header's end.
int SafeTensorsParser::peek() {
  if (at_ >= end_) return -1;
  std::byte b{};
  f_.file().read(at_, {&b, 1});
  return std::to_integer<int>(b);
}

char SafeTensorsParser::next(std::string_view what) {
  const int c = peek();
  if (c < 0) fail(at_, fmt::format("the header ends within {}", what));
  ++at_;
  return static_cast<char>(c);
}

void SafeTensorsParser::space() {
  for (int c = peek(); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek()) ++at_;
}

void SafeTensorsParser::expect(char c, std::string_view what) {
  space();
  const u64 at = at_;
  if (next(what) != c) fail(at, fmt::format("expected {} in {}", c, what));
  space();
}

bool SafeTensorsParser::more(char close, std::string_view what) {
  space();
  const u64 at = at_;
  const char c = next(what);
  if (c != ',' && c != close) fail(at, fmt::format("expected a comma or {} in {}", close, what));
  return c == ',';
}

u64 SafeTensorsParser::text(std::string* out, u64 most, std::string_view what) {
  const u64 start = at_;
  if (next(what) != '"') fail(start, fmt::format("expected a string as {}", what));
  std::array<char, 4> raw{};
  std::string one;
  u64 length = 0;
  while (true) {
    const u64 at = at_;
    const char c = next(what);
    const auto b = static_cast<unsigned char>(c);
    if (c == '"') return length;
    if (b < 0x20) fail(at, fmt::format("a control character stands in {}", what));
    one.clear();
    if (c == '\\') {
      append_utf8(one, escape(what));
    } else if (b < 0x80) {
      one = c;
    } else {
      const std::size_t n = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
      raw[0] = c;
      for (std::size_t i = 1; i < n; ++i) raw[i] = next(what);
      const std::string_view character(raw.data(), n);
      if (decode_utf8(character, 0).bytes != n) fail(at, fmt::format("{} is no UTF-8", what));
      one = character;
    }
    length += one.size();
    if (length > most) fail(start, fmt::format("{} is longer than {} bytes", what, most));
    if (out) *out += one;
  }
}

u32 SafeTensorsParser::hex4(std::string_view what) {
  u32 v = 0;
  for (int i = 0; i < 4; ++i) {
    const u64 at = at_;
    const char c = next(what);
    const char lower = static_cast<char>(c | 0x20);
    if (c >= '0' && c <= '9')
      v = v * 16 + static_cast<u32>(c - '0');
    else if (lower >= 'a' && lower <= 'f')
      v = v * 16 + static_cast<u32>(lower - 'a' + 10);
    else
      fail(at, fmt::format("a bad escape stands in {}", what));
  }
  return v;
}

char32_t SafeTensorsParser::escape(std::string_view what) {
  const u64 at = at_ - 1;
  const char c = next(what);
  constexpr std::string_view kLetters = "\"\\/bfnrt", kMeaning = "\"\\/\b\f\n\r\t";
  if (const std::size_t i = kLetters.find(c); i != kLetters.npos) return static_cast<char32_t>(kMeaning[i]);
  if (c != 'u') fail(at, fmt::format("a bad escape stands in {}", what));
  const u32 high = hex4(what);
  if (high < 0xD800 || high > 0xDFFF) return high;
  if (high > 0xDBFF || next(what) != '\\' || next(what) != 'u')
    fail(at, fmt::format("half of a surrogate pair stands in {}", what));
  const u32 low = hex4(what);
  if (low < 0xDC00 || low > 0xDFFF) fail(at, fmt::format("half of a surrogate pair stands in {}", what));
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

u64 SafeTensorsParser::number(std::string_view what) {
  space();
  const u64 at = at_;
  u64 v = 0;
  bool too_large = false;
  int c = peek();
  for (; c >= '0' && c <= '9'; c = peek()) {
    too_large |= __builtin_mul_overflow(v, u64{10}, &v) || __builtin_add_overflow(v, static_cast<u64>(c - '0'), &v);
    if (++at_ - at == 2 && v < 10) fail(at, fmt::format("a number with a zero in front stands in {}", what));
  }
  if (at_ == at || c == '.' || (c | 0x20) == 'e')
    fail(at, fmt::format("expected a whole number, not below zero, in {}", what));
  if (too_large) fail(at, fmt::format("a number in {} does not fit 64 bits", what));
  return v;
}

}  // namespace terrace::io
