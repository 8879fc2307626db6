#include "terrace/program/text_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "terrace/core/error.h"
#include "terrace/io/file.h"
#include "terrace/program/mixed.h"

namespace terrace {

TextData::TextData(const std::string& path, bool characters, double validation, i64 length) : length_(length) {
  io::WindowedFile file(path, u64{1} << 20);
  if (file.size() > (1_GiB).count)
    throw Error(ErrorKind::bad_file, "a text of more than 1 GiB is not read", path, "cut it");
  bytes_.resize(file.size());
  file.read(0, std::as_writable_bytes(std::span(bytes_)));
  std::array<bool, 256> occurs{};
  for (std::uint8_t b : bytes_) occurs[b] = true;
  std::array<std::uint8_t, 256> token{};
  for (unsigned b = 0; b < 256; ++b) {
    if (characters && !occurs[b]) continue;
    token[b] = static_cast<std::uint8_t>(letters_.size());
    letters_.push_back(static_cast<char>(b));
  }
  for (std::uint8_t& b : bytes_) b = token[b];
  split_ = static_cast<i64>(static_cast<double>(tokens()) * (1 - validation));
  if (split_ <= length || (validation > 0 && validation_windows() < 1))
    throw Error(ErrorKind::bad_file,
                fmt::format("{} tokens are too few for windows of {}, {} % of them for validation", tokens(), length,
                            validation * 100),
                path, "a longer text or a shorter context");
}

void TextData::window(i64 at, i32* ids, i32* targets) const {
  for (i64 t = 0; t < length_; ++t) {
    ids[t] = bytes_[static_cast<std::size_t>(at + t)];
    targets[t] = bytes_[static_cast<std::size_t>(at + t + 1)];
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
