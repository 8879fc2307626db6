// A text as tokens, and windows of it for training and validation.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "terrace/io/file.h"
#include "terrace/program/token_cache.h"

namespace terrace {

/// Tokens stay in their file: a window is read when it is drawn, and what fits in 4 MiB is read once. (Pages that a
/// mapping brings in would count against the budget, and stay until the system is short of memory.)
class TextData {
 public:
  /// Bytes of any text. `characters`: a token for each byte value that occurs, by rising value; else each byte is its
  /// own token. The last `validation` of the text is never trained on. Error(bad_file) if a part is shorter than one
  /// window.
  TextData(const std::string& path, bool characters, double validation, i64 length);
  /// A text that a tokenizer has cut.
  TextData(const TokenCache& tokens, double validation, i64 length);

  i64 vocabulary() const { return vocabulary_; }
  /// The byte of each token; empty with a tokenizer.
  const std::string& letters() const { return letters_; }
  i64 tokens() const { return count_; }
  /// What is held of the file.
  Bytes memory_bytes() const { return Bytes{window_bytes_}; }

  /// Windows for row 0 .. n-1 of part `part` of step `step`: a function of these and the seed alone. `ids` and
  /// `targets` hold n rows of the window's length; targets are the tokens one further. Error(bad_file), as for
  /// validation(), if the file was changed and now has what was no token.
  void draw(u64 seed, i64 step, i64 part, std::span<i32> ids, std::span<i32> targets) const;
  /// How many windows that do not overlap the validation part holds, and n rows of them from window `first` on.
  i64 validation_windows() const { return (tokens() - split_ - 1) / length_; }
  void validation(i64 first, std::span<i32> ids, std::span<i32> targets) const;

 private:
  void open(double validation);
  void window(i64 at, i32* ids, i32* targets) const;
  i32 token_at(std::size_t i) const;

  std::string letters_;
  std::array<i32, 256> token_of_{};  ///< of a byte; -1: none
  u64 offset_ = 0;                   ///< of the first token in the file
  u64 width_ = 1, window_bytes_ = 0;
  i64 count_ = 0, vocabulary_ = 0, length_ = 0, split_ = 0;
  mutable io::WindowedFile file_;
  mutable std::vector<std::byte> buffer_;  ///< a window and the token behind it
};

}  // namespace terrace
