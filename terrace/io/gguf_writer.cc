#include "terrace/io/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "terrace/core/error.h"

namespace terrace::io {
namespace {

constexpr u64 kAlignment = 32;

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& to, std::string_view text) {
  put<u64>(to, text.size());
  to += text;
}

/// ggml's number of a format.
u32 type_of(const NewGgufTensor& t) {
  if (t.spec.layout == Layout::dense && t.spec.dtype == DType::f32) return 0;
  if (t.spec.layout == Layout::dense && t.spec.dtype == DType::f16) return 1;
  if (t.spec.layout == Layout::q4_0) return 2;
  if (t.spec.layout == Layout::q4_1) return 3;
  if (t.spec.layout == Layout::q8_0) return 8;
  throw Error(ErrorKind::failure, fmt::format("{} has no place in GGUF files", to_string(t.spec)), t.name);
}

u64 bytes_of(const NewGgufTensor& t) { return t.spec.bytes({}).count; }

std::span<const std::byte> padding(u64 at) {
  static constexpr std::array<std::byte, kAlignment> kZeros{};
  return std::span(kZeros).first(round_up(at, kAlignment) - at);
}

}  // namespace

void GgufKeys::text(std::string_view key, std::string_view value) {
  put_text(bytes_, key);
  put<u32>(bytes_, static_cast<u32>(GgufType::string));
  put_text(bytes_, value);
  ++count_;
}

void GgufKeys::number(std::string_view key, u32 value) {
  put_text(bytes_, key);
  put<u32>(bytes_, static_cast<u32>(GgufType::u32));
  put(bytes_, value);
  ++count_;
}

void GgufKeys::real(std::string_view key, float value) {
  put_text(bytes_, key);
  put<u32>(bytes_, static_cast<u32>(GgufType::f32));
  put(bytes_, value);
  ++count_;
}

void GgufKeys::copy(const GgufFile& file, const GgufEntry& e) {
  put_text(bytes_, e.key);
  put<u32>(bytes_, static_cast<u32>(e.type));
  if (e.type == GgufType::array) {
    put<u32>(bytes_, static_cast<u32>(e.element));
    put(bytes_, e.count);
  } else if (e.type == GgufType::string) {
    put(bytes_, e.bytes);
  }
  const std::size_t at = bytes_.size();
  bytes_.resize(at + e.bytes);
  file.file().read(e.offset, std::as_writable_bytes(std::span(bytes_)).subspan(at));
  ++count_;
}

GgufWriter::GgufWriter(const std::string& path, const GgufKeys& keys, std::vector<NewGgufTensor> tensors)
    : tensors_(std::move(tensors)), file_(path) {
  std::string header = "GGUF";
  put<u32>(header, 3);
  put<u64>(header, tensors_.size());
  put(header, keys.count_);
  header += keys.bytes_;
  u64 offset = 0;
  for (const NewGgufTensor& t : tensors_) {
    if (t.name.empty() || t.name.size() > 63)
      throw Error(ErrorKind::failure, "a tensor's name has 1 to 63 bytes in GGUF files", t.name);
    put_text(header, t.name);
    put(header, static_cast<u32>(t.spec.shape.rank));
    for (int a = t.spec.shape.rank; a-- > 0;) put(header, static_cast<u64>(t.spec.shape[a].value));
    put(header, type_of(t));
    put(header, offset);
    offset = round_up(offset + bytes_of(t), kAlignment);
  }
  header.resize(round_up(header.size(), kAlignment), '\0');
  file_.write(std::as_bytes(std::span(header)));
  if (!tensors_.empty()) left_ = bytes_of(tensors_[0]);
}

void GgufWriter::append(std::span<const std::byte> bytes) {
  if (bytes.size() > left_)
    throw Error(ErrorKind::failure, fmt::format("{} bytes more than the tensor has", bytes.size() - left_),
                file_.path());
  file_.write(bytes);
  left_ -= bytes.size();
  if (left_ > 0) return;
  file_.write(padding(file_.written()));
  if (++current_ < tensors_.size()) left_ = bytes_of(tensors_[current_]);
}

void GgufWriter::close() {
  if (current_ < tensors_.size())
    throw Error(ErrorKind::failure, fmt::format("{} bytes are missing", left_), tensors_[current_].name);
  file_.commit();
}

}  // namespace terrace::io
