#include "terrace/program/text_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/program/mixed.h"

namespace terrace {
namespace {

constexpr u64 kHeld = u64{4} << 20;

std::array<bool, 256> bytes_that_occur(io::WindowedFile& file) {
  std::array<bool, 256> occurs{};
  std::vector<std::byte> piece(64 << 10);
  for (u64 at = 0; at < file.size(); at += piece.size()) {
    const auto part = std::span(piece).first(std::min<u64>(piece.size(), file.size() - at));
    file.read(at, part);
    for (std::byte b : part) occurs[std::to_integer<std::size_t>(b)] = true;
  }
  return occurs;
}

}  // namespace

TextData::TextData(const std::string& path, bool characters, double validation, i64 length)
    : length_(length), file_(path, u64{1} << 20) {
  std::array<bool, 256> occurs{};
  occurs.fill(true);
  if (characters) occurs = bytes_that_occur(file_);
  for (unsigned b = 0; b < 256; ++b) {
    token_of_[b] = occurs[b] ? static_cast<i32>(letters_.size()) : -1;
    if (occurs[b]) letters_.push_back(static_cast<char>(b));
  }
  vocabulary_ = static_cast<i64>(letters_.size());
  count_ = static_cast<i64>(file_.size());
  open(validation);
}

TextData::TextData(const TokenCache& tokens, double validation, i64 length)
    : offset_(TokenCache::kHeaderBytes),
      width_(tokens.width),
      count_(tokens.count),
      vocabulary_(tokens.vocabulary),
      length_(length),
      file_(tokens.path) {
  open(validation);
}

void TextData::open(double validation) {
  const std::string path = file_.path();
  split_ = static_cast<i64>(static_cast<double>(tokens()) * (1 - validation));
  if (split_ <= length_ || (validation > 0 && validation_windows() < 1))
    throw Error(ErrorKind::bad_file,
                fmt::format("{} tokens are too few for windows of {}, {} % of them for validation", tokens(), length_,
                            validation * 100),
                path, "a longer text or a shorter context");
  buffer_.resize(static_cast<std::size_t>(length_ + 1) * width_);
  // Either all of it, or so much that a drawn window is read at once.
  window_bytes_ = round_up(file_.size() <= kHeld ? file_.size() : round_up(buffer_.size(), 4096) + 4096, 4096);
  file_ = io::WindowedFile(path, window_bytes_);
}

i32 TextData::token_at(std::size_t i) const {
  if (width_ == 1) return token_of_[std::to_integer<std::size_t>(buffer_[i])];
  u32 token = 0;
  std::memcpy(&token, buffer_.data() + i * width_, width_);
  return token < static_cast<u64>(vocabulary_) ? static_cast<i32>(token) : -1;
}

void TextData::window(i64 at, i32* ids, i32* targets) const {
  const u64 from = offset_ + static_cast<u64>(at) * width_;
  file_.read(from, buffer_);
  for (i64 t = 0; t <= length_; ++t) {
    const i32 token = token_at(static_cast<std::size_t>(t));
    if (token < 0)
      throw Error(ErrorKind::bad_file, "has what was no token when it was opened: the file was changed",
                  fmt::format("{}, byte {}", file_.path(), from + static_cast<u64>(t) * width_), "start again");
    if (t < length_) ids[t] = token;
    if (t > 0) targets[t - 1] = token;
  }
}

void TextData::draw(u64 seed, i64 step, i64 part, std::span<i32> ids, std::span<i32> targets) const {
  const auto places = static_cast<u64>(split_ - length_);
  for (std::size_t i = 0; i < ids.size(); i += static_cast<std::size_t>(length_)) {
    const u64 key = mixed(mixed(mixed(seed) + static_cast<u64>(step)) + static_cast<u64>(part)) + i;
    window(static_cast<i64>(mixed(key) % places), ids.data() + i, targets.data() + i);
  }
}

void TextData::validation(i64 first, std::span<i32> ids, std::span<i32> targets) const {
  i64 at = split_ + first * length_;
  for (std::size_t i = 0; i < ids.size(); i += static_cast<std::size_t>(length_), at += length_)
    window(at, ids.data() + i, targets.data() + i);
}

}  // namespace terrace
