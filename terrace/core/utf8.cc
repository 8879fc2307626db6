#include "terrace/core/utf8.h"

namespace terrace {

Utf8Char decode_utf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char b = byte(at);
  if (b < 0x80) return {b, 1};
  const std::size_t n = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
  if (b < 0xC2 || b > 0xF4 || text.size() - at < n) return {kInvalid, 1};
  char32_t c = b & (0x7Fu >> n);
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {kInvalid, 1};
    c = c << 6 | (byte(at + i) & 0x3F);
  }
  const bool overlong = (n == 3 && c < 0x800) || (n == 4 && c < 0x10000);
  if (overlong || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return {kInvalid, 1};
  return {c, n};
}

std::string without_controls(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text, at);
    if (c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0) || c.value == kInvalid)
      out += '?';
    else
      out += text.substr(at, c.bytes);
    at += c.bytes;
  }
  return out;
}

std::string for_xml(std::string_view text) {
  const std::string clean = without_controls(text);
  std::string out;
  for (std::size_t at = 0; at < clean.size();) {
    const Utf8Char c = decode_utf8(clean, at);
    switch (c.value) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case 0xFFFE:
      case 0xFFFF: out += '?'; break;  // XML has no such characters
      default: out += clean.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    tail(12), tail(6), tail(0);
  }
}

}  // namespace terrace
