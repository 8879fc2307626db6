// The few classes of characters that splitters of text distinguish, and UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace terrace::io {

enum class CharClass : std::uint8_t { other, letter, number, space };

/// General category L, N, or the property White_Space; everything else, also what is no character, is `other`.
CharClass class_of(char32_t c);

/// A character of a text. A byte that does not belong to valid UTF-8 stands alone as kInvalid.
struct Utf8Char {
  char32_t value = 0;
  std::size_t bytes = 1;
};
inline constexpr char32_t kInvalid = 0xFFFFFFFF;
/// The character at `at` < text.size(). Refuses overlong forms, surrogates and what is above U+10FFFF.
Utf8Char decode_utf8(std::string_view text, std::size_t at);

}  // namespace terrace::io
