// A text that a tokenizer has cut, kept in a file: it is encoded once.
#pragma once

#include <string>
#include <string_view>

#include "terrace/io/tokenizer.h"

namespace terrace {

/// The file begins with kHeaderBytes: "TRCTOKEN", u32 version (1), u32 width, u64 count, u64 vocabulary, and as 64
/// hexadecimal digits each the SHA-256 of the text, of the tokenizer's keys in the GGUF file and of the tokens; zeros
/// up to there. Then `count` tokens of `width` bytes, little-endian.
struct TokenCache {
  static constexpr u64 kHeaderBytes = 256;
  std::string path;
  u64 width = 2;  ///< 2 or 4
  i64 count = 0, vocabulary = 0;
  std::string tokenizer_sha256;  ///< of the tokenizer's keys
};

/// The tokens of the text at `text` by the tokenizer of the GGUF file: the file at `cache` if it is of both, as it was
/// written; else it is made (whole or not at all). Error(bad_file) for an empty text, or a tokenizer that is not
/// supported; Error(failure) if it cannot be written. The cache's folder is made where there is none.
TokenCache encoded(const std::string& text, const io::GgufFile& model, const std::string& cache);

/// Of all that a model file says of its tokenizer.
std::string tokenizer_sha256(const io::GgufFile& model);

/// The last place where `text` can be cut so that its two parts have the tokens of the whole; 0 if none is seen. It is
/// behind a line's end or before a space that stands alone between what is neither.
std::size_t last_cut(std::string_view text);

}  // namespace terrace
