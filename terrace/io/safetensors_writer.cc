#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "terrace/core/error.h"
#include "terrace/core/utf8.h"
#include "terrace/io/safetensors.h"

namespace terrace::io {
namespace {

[[noreturn]] void refuse(std::string what, std::string where) {
  throw Error(ErrorKind::failure, std::move(what), std::move(where));
}

/// A JSON string, escaped as the format's own library does.
void put_text(std::string& out, std::string_view s) {
  constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  out += '"';
  for (std::size_t at = 0; at < s.size();) {
    const Utf8Char c = decode_utf8(s, at);
    if (c.value == kInvalid) refuse("is no UTF-8: it cannot stand in a safetensors file", without_controls(s));
    if (const std::size_t i = kEscaped.find(s[at]); i != kEscaped.npos)
      (out += '\\') += kLetters[i];
    else if (c.value < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<u32>(c.value));
    else
      out += s.substr(at, c.bytes);
    at += c.bytes;
  }
  out += '"';
}

std::string_view name_in_file(DType t) {
  switch (t) {
    case DType::f32: return "F32";
    case DType::f16: return "F16";
    case DType::bf16: return "BF16";
    case DType::f64: return "F64";
    case DType::i32: return "I32";
  }
  return {};
}

u64 bytes_of(const NamedSpec& t) {
  const std::string where = fmt::format("tensor '{}'", without_controls(t.name));
  if (t.spec.layout != Layout::dense)
    refuse(fmt::format("{} has no name in a safetensors file: write it dense", to_string(t.spec)), where);
  u64 bytes = dense_bytes(t.spec.dtype);
  for (int a = 0; a < t.spec.shape.rank; ++a) {
    const Dim d = t.spec.shape[a];
    if (d.is_symbol() || d.value < 0 || __builtin_mul_overflow(bytes, static_cast<u64>(d.value), &bytes))
      refuse(fmt::format("{} has no size that a file could have", to_string(t.spec)), where);
  }
  return bytes;
}

}  // namespace

std::string safetensors_header(std::span<const NamedSpec> tensors, const Metadata& metadata) {
  std::string s(8, '\0');
  s += '{';
  const auto comma = [&] {
    if (s.back() != '{') s += ',';
  };
  if (!metadata.empty()) {
    s += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      comma();
      put_text(s, key);
      s += ':';
      put_text(s, value);
    }
    s += '}';
  }
  std::set<std::string_view> names;
  u64 at = 0;
  for (const NamedSpec& t : tensors) {
    if (t.name == "__metadata__" || !names.insert(t.name).second)
      refuse("the name stands for something else already", fmt::format("tensor '{}'", without_controls(t.name)));
    u64 end = 0;
    if (__builtin_add_overflow(at, bytes_of(t), &end)) refuse("all tensors together are too large", "safetensors");
    comma();
    put_text(s, t.name);
    s += fmt::format(":{{\"dtype\":\"{}\",\"shape\":[", name_in_file(t.spec.dtype));
    for (int a = 0; a < t.spec.shape.rank; ++a) s += fmt::format("{}{}", a ? "," : "", t.spec.shape[a].value);
    s += fmt::format("],\"data_offsets\":[{},{}]}}", std::exchange(at, end), end);
  }
  s += '}';
  s.resize(round_up(s.size(), 8), ' ');
  const u64 length = s.size() - 8;
  if (length > kMaxSafeTensorsHeader)
    refuse(fmt::format("the header would be {} bytes long, at most {} are allowed", length, kMaxSafeTensorsHeader),
           "safetensors");
  std::memcpy(s.data(), &length, 8);
  return s;
}

SafeTensorsWriter::SafeTensorsWriter(const std::string& path, std::vector<NamedSpec> tensors, Metadata metadata)
    : tensors_(std::move(tensors)),
      metadata_(std::move(metadata)),
      header_(safetensors_header(tensors_, metadata_)),
      file_(path) {
  for (const NamedSpec& t : tensors_) left_ += bytes_of(t);
  file_.write(std::as_bytes(std::span(header_)));
}

void SafeTensorsWriter::append(std::span<const std::byte> bytes) {
  if (bytes.size() > left_) refuse(fmt::format("{} bytes more than the tensors have", bytes.size() - left_), path());
  file_.write(bytes);
  left_ -= bytes.size();
}

void SafeTensorsWriter::replace_metadata(const std::string& key, std::string value) {
  const auto it = metadata_.find(key);
  if (it == metadata_.end()) refuse(fmt::format("there was no key '{}' from the start", key), path());
  it->second.swap(value);
  std::string text, before;
  put_text(text, it->second);
  put_text(before, value);
  if (text.size() == before.size()) return;
  it->second = std::move(value);
  refuse(fmt::format("the value of '{}' must keep its length", key), path());
}

void SafeTensorsWriter::close() {
  if (left_ != 0) refuse(fmt::format("{} bytes of the tensors are missing", left_), path());
  if (std::string now = safetensors_header(tensors_, metadata_); now != header_) {
    file_.write_again(0, std::as_bytes(std::span(now)));
    header_ = std::move(now);
  }
  file_.commit();
}

}  // namespace terrace::io
