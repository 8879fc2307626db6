// Cuts text into the words inside which byte pairs may merge.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

namespace terrace::io {

enum class Splitter { gpt2, smollm };

/// The splitter of a `tokenizer.ggml.pre` name.
std::optional<Splitter> splitter_of(std::string_view pre);

/// Calls `f` with each word in order; the words joined are the text.
///
/// gpt2 is the pattern of Radford et al. 2019 (encoder.py):
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// smollm first makes every \p{N} a piece of its own; each piece is then split as by gpt2.
void split(Splitter s, std::string_view text, const std::function<void(std::string_view word)>& f);

}  // namespace terrace::io
