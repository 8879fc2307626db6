// A byte-level vocabulary with its merges, as compact tables.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/units.h"
#include "terrace/io/gguf.h"

namespace terrace::io {

/// ggml's token types (llama.h).
enum class TokenType : std::uint8_t { undefined, normal, unknown, control, user_defined, unused, byte };

class Vocabulary {
 public:
  static constexpr u32 kNone = 0xFFFFFFFF;
  struct Merge {
    u32 left, right, merged;
  };

  /// Streams tokenizer.ggml.{tokens,token_type,merges}; token_type may be missing (all normal). Error(bad_file) names
  /// key and index when an array is missing, sizes differ, or a merge names a token that does not exist.
  explicit Vocabulary(const GgufFile& file);

  u32 size() const { return static_cast<u32>(offsets_.size() - 1); }
  /// The bytes that a token stands for (the text itself for control and user-defined tokens).
  std::string_view text(u32 id) const {
    return std::string_view(blob_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
  }
  TokenType type(u32 id) const { return types_.empty() ? TokenType::normal : static_cast<TokenType>(types_[id]); }
  bool special(u32 id) const { return type(id) == TokenType::control || type(id) == TokenType::user_defined; }
  /// The token of one byte, or kNone.
  u32 byte_token(unsigned char b) const { return bytes_[b]; }
  /// Rank of the merge of two tokens (index for `merge`), or kNone.
  u32 rank(u32 left, u32 right) const;
  const Merge& merge(u32 rank) const { return merges_[rank]; }
  u64 memory_bytes() const;

 private:
  class Index;
  void read_types(const GgufFile& file, u64 count);
  void read_tokens(const GgufFile& file, const GgufEntry& tokens, Index& index);
  void read_merges(const GgufFile& file, const GgufEntry& merges, const Index& index);
  void insert_merge(u32 rank);

  std::string blob_;          // texts one after the other
  std::vector<u32> offsets_;  // of each text, and the end
  std::vector<std::uint8_t> types_;
  std::vector<Merge> merges_;  // by rank
  std::vector<u32> slots_;     // open addressing: (left, right) -> rank
  std::array<u32, 256> bytes_{};
};

}  // namespace terrace::io
