// Characters of UTF-8 text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace terrace {

/// A character of a text. A byte that does not belong to valid UTF-8 stands alone as kInvalid.
struct Utf8Char {
  char32_t value = 0;
  std::size_t bytes = 1;
};
inline constexpr char32_t kInvalid = 0xFFFFFFFF;
/// The character at `at` < text.size(). Refuses overlong forms, surrogates and what is above U+10FFFF.
Utf8Char decode_utf8(std::string_view text, std::size_t at);

/// Text of a file, fit for a terminal: control characters and what is no UTF-8 become '?'.
std::string without_controls(std::string_view text);

/// Text of XML, the same way; what means something there is escaped.
std::string for_xml(std::string_view text);

/// Appends a character that is a Unicode scalar value.
void append_utf8(std::string& out, char32_t c);

}  // namespace terrace
