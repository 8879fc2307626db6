#include "terrace/io/gguf_cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "terrace/core/error.h"

namespace terrace::io {
namespace {

constexpr std::string_view kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
constexpr u64 kTypeBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr std::size_t kTypes = std::size(kTypeNames);
}  // namespace

std::string_view name_of(GgufType t) { return kTypeNames[static_cast<std::size_t>(t)]; }

namespace detail {

u64 bytes_of(GgufType t) { return kTypeBytes[static_cast<std::size_t>(t)]; }

bool printable(std::string_view s, unsigned char first) {
  return std::all_of(s.begin(), s.end(), [&](char c) {
    const auto b = static_cast<unsigned char>(c);
    return b >= first && b != 0x7f;
  });
}

std::string shown(std::string_view s) {
  std::string out;
  for (char c : s.substr(0, 80)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
  if (s.size() > 80) out += "...";
  return out;
}

void Cursor::fail(u64 offset, std::string what, std::string hint) const {
  std::string where = fmt::format("{}, byte {}", file_.path(), offset);
  if (!subject_.empty()) where += ", " + subject_;
  throw Error(ErrorKind::bad_file, std::move(what), std::move(where), std::move(hint));
}

void Cursor::need(u64 n, std::string_view what) const {
  if (n > left())
    fail(at_, fmt::format("the file ends in {}: {} bytes are left, {} needed", what, left(), n),
         "the file is cut short or damaged: download it again");
}

u64 Cursor::length(std::string_view what, u64 most) {
  const u64 at = at_;
  const u64 n = value<u64>(what);
  if (n > most && n <= left()) fail(at, fmt::format("{} is {} bytes long, at most {} are allowed", what, n, most));
  need(n, what);
  return n;
}

void Cursor::text(std::string& out, std::string_view what, u64 most) {
  const u64 n = length(what, most);
  out.resize(n);
  characters(out);
}

void Cursor::characters(std::string& out) {
  file_.read(at_, std::as_writable_bytes(std::span(out)));
  at_ += out.size();
}

void Cursor::skip(u64 n, std::string_view what) {
  need(n, what);
  at_ += n;
}

GgufType read_type(Cursor& c, std::string_view what) {
  const u64 at = c.at();
  const u32 t = c.value<u32>(what);
  if (t >= kTypes) c.fail(at, fmt::format("{} {} does not exist", what, t));
  return static_cast<GgufType>(t);
}

decltype(GgufEntry::scalar) read_scalar(Cursor& c, GgufType t) {
  switch (t) {
    case GgufType::u8: return u64{c.value<std::uint8_t>("a value")};
    case GgufType::u16: return u64{c.value<std::uint16_t>("a value")};
    case GgufType::u32: return u64{c.value<u32>("a value")};
    case GgufType::u64: return c.value<u64>("a value");
    case GgufType::i8: return i64{c.value<std::int8_t>("a value")};
    case GgufType::i16: return i64{c.value<std::int16_t>("a value")};
    case GgufType::i32: return i64{c.value<i32>("a value")};
    case GgufType::i64: return c.value<i64>("a value");
    case GgufType::f32: return double{c.value<float>("a value")};
    case GgufType::f64: return c.value<double>("a value");
    case GgufType::boolean: {
      const auto b = c.value<std::uint8_t>("a value");
      if (b > 1) c.fail(c.at() - 1, fmt::format("a bool is {}, it must be 0 or 1", b));
      return b != 0;
    }
    case GgufType::string:
    case GgufType::array: break;
  }
  return u64{0};
}

}  // namespace detail
}  // namespace terrace::io
