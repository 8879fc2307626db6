// A text as tokens of one byte each, and windows of it for training and validation.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "terrace/core/units.h"

namespace terrace {

class TextData {
 public:
  /// Reads the whole text, at most 1 GiB. `characters`: a token for each byte value that occurs, by rising value; else
  /// each byte is its own token. The last `validation` of it is never trained on. Error(bad_file) if a part is shorter
  /// than one window.
  TextData(const std::string& path, bool characters, double validation, i64 length);

  i64 vocabulary() const { return static_cast<i64>(letters_.size()); }
  /// The byte of each token.
  const std::string& letters() const { return letters_; }
  i64 tokens() const { return static_cast<i64>(bytes_.size()); }
  Bytes memory_bytes() const { return Bytes{bytes_.size()}; }

  /// Windows for row 0 .. n-1 of part `part` of step `step`: a function of these and the seed alone. `ids` and
  /// `targets` hold n rows of the window's length; targets are the tokens one further.
  void draw(u64 seed, i64 step, i64 part, std::span<i32> ids, std::span<i32> targets) const;
  /// How many windows that do not overlap the validation part holds, and n rows of them from window `first` on.
  i64 validation_windows() const { return (tokens() - split_ - 1) / length_; }
  void validation(i64 first, std::span<i32> ids, std::span<i32> targets) const;

 private:
  void window(i64 at, i32* ids, i32* targets) const;
  std::string letters_;
  std::vector<std::uint8_t> bytes_;  // tokens
  i64 length_, split_ = 0;
};

}  // namespace terrace
