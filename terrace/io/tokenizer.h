// Byte-level byte-pair encoding as GPT-2 defined it (Radford et al. 2019), with the splitters of GGUF models.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/units.h"
#include "terrace/io/gguf.h"

namespace terrace::io {

/// Built straight from the file's arrays, in at most 3 MiB for 49,152 tokens, construction included.
class Tokenizer {
 public:
  /// Throws Error(bad_file) naming model or pre-tokenizer when they are not supported or the arrays do not agree.
  explicit Tokenizer(const GgufFile& file);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  /// Token ids of UTF-8 text. Invalid UTF-8 is split byte by byte, never rejected. With `special`, the texts of control
  /// and user-defined tokens ("<|im_start|>") become their ids; otherwise they are ordinary text.
  std::vector<i32> encode(std::string_view text, bool special) const;
  /// The bytes a token stands for; control tokens give their text only with `special`.
  std::string piece(i32 id, bool special = false) const;
  std::string decode(const std::vector<i32>& ids, bool special = false) const;

  i64 size() const;
  std::optional<i32> bos() const;
  std::optional<i32> eos() const;
  bool add_bos() const;
  bool is_end_of_text(i32 id) const;  ///< eos, and other tokens that end a turn (<|im_end|>, <|endoftext|>)
  const std::string& pre() const;     ///< name of the splitter
  u64 memory_bytes() const;           ///< what it holds

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ChatMessage {
  std::string role, content;
};
/// ChatML ("<|im_start|>role\ncontent<|im_end|>\n"), with the system message that the model's own template supplies
/// when the first message is none. Throws Error(bad_file) for any template that is not recognised as ChatML.
std::string render_chat(const std::optional<std::string>& template_text, const std::vector<ChatMessage>& messages);

}  // namespace terrace::io
