// What is asked of a GGUF file once its header has been read.
#include <fmt/format.h>

#include <type_traits>

#include "terrace/core/error.h"
#include "terrace/io/gguf_cursor.h"

namespace terrace::io {
namespace {

using detail::Cursor;

[[noreturn]] void wrong_type(const GgufFile& f, const GgufEntry& e, std::string_view wanted) {
  throw Error(ErrorKind::bad_file, fmt::format("is of type {}, expected {}", name_of(e.type), wanted),
              fmt::format("{}, byte {}, key '{}'", f.path(), e.offset, e.key));
}

}  // namespace

const GgufEntry* GgufFile::find(std::string_view key) const {
  for (const GgufEntry& e : entries_)
    if (e.key == key) return &e;
  return nullptr;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  for (const GgufTensor& t : tensors_)
    if (t.name == name) return &t;
  return nullptr;
}

std::optional<u64> GgufFile::get_uint(std::string_view key) const {
  const GgufEntry* e = find(key);
  if (!e) return std::nullopt;
  if (const u64* u = std::get_if<u64>(&e->scalar); u && e->type != GgufType::array) return *u;
  if (const terrace::i64* s = std::get_if<terrace::i64>(&e->scalar); s && *s >= 0) return static_cast<u64>(*s);
  wrong_type(*this, *e, "an integer that is not negative");
}

std::optional<double> GgufFile::get_float(std::string_view key) const {
  const GgufEntry* e = find(key);
  if (!e) return std::nullopt;
  if (const double* d = std::get_if<double>(&e->scalar)) return *d;
  wrong_type(*this, *e, "a float");
}

std::optional<std::string> GgufFile::get_string(std::string_view key) const {
  const GgufEntry* e = find(key);
  if (!e) return std::nullopt;
  const std::string* s = std::get_if<std::string>(&e->scalar);
  if (!s) wrong_type(*this, *e, "a string");
  if (s->size() != e->bytes) wrong_type(*this, *e, fmt::format("a string of at most {} bytes", detail::kMaxKept));
  return *s;
}

std::optional<bool> GgufFile::get_bool(std::string_view key) const {
  const GgufEntry* e = find(key);
  if (!e) return std::nullopt;
  if (const bool* b = std::get_if<bool>(&e->scalar)) return *b;
  wrong_type(*this, *e, "a bool");
}

void GgufFile::each_string(const GgufEntry& array,
                           const std::function<void(u64 index, std::string_view text)>& f) const {
  if (array.type != GgufType::array || array.element != GgufType::string)
    wrong_type(*this, array, "an array of strings");
  // `f` may read elsewhere in the file: the cursor owns no window, so that only costs a refill.
  Cursor c(file_, array.offset, array.offset + array.bytes);
  std::string text;
  for (u64 i = 0; i < array.count; ++i) {
    c.text(text, "a string of an array", detail::kMaxString);
    f(i, text);
  }
}

void GgufFile::each_number(const GgufEntry& array, const std::function<void(u64 index, double value)>& f) const {
  if (array.type != GgufType::array || array.element == GgufType::string || array.element == GgufType::array)
    wrong_type(*this, array, "an array of numbers");
  Cursor c(file_, array.offset, array.offset + array.bytes);
  const auto to_double = [](const auto& v) -> double {
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>)
      return static_cast<double>(v);
    else
      return 0;
  };
  for (u64 i = 0; i < array.count; ++i) f(i, std::visit(to_double, detail::read_scalar(c, array.element)));
}

}  // namespace terrace::io
