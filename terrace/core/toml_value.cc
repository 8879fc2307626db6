// What a value of a configuration or machine file stands for; its form has been checked by the scanner.
#include <charconv>
#include <limits>

#include "terrace/core/utf8.h"
#include "terrace/core/toml_scan.h"

namespace terrace::toml {
namespace {

/// Digits without what std::from_chars does not know: a plus sign and underscores.
std::string plain(std::string_view raw) {
  std::string s;
  for (char c : raw)
    if (c != '_' && !(c == '+' && s.empty())) s += c;
  return s;
}

}  // namespace

std::string text_of(const Value& v) {
  const std::string_view s = v.raw.substr(1, v.raw.size() - 2);
  std::string out;
  out.reserve(s.size());
  if (v.raw.front() == '\'') return out.append(s);
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\') {
      out += s[i];
      continue;
    }
    constexpr std::string_view kEscapes = "btnfr\"\\", kMeant = "\b\t\n\f\r\"\\";
    if (const std::size_t at = kEscapes.find(s[++i]); at != kEscapes.npos) {
      out += kMeant[at];
      continue;
    }
    const std::size_t digits = s[i] == 'u' ? 4 : 8;
    std::uint32_t c = 0;
    std::from_chars(s.data() + i + 1, s.data() + i + 1 + digits, c, 16);
    append_utf8(out, static_cast<char32_t>(c));
    i += digits;
  }
  return out;
}

double number_of(const Value& v) {
  const std::string s = plain(v.raw);
  double d = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), d);
  // Too large and too small are no physical figures; the caller refuses both.
  return error == std::errc() ? d : std::numeric_limits<double>::infinity();
}

std::optional<u64> count_of(const Value& v) {
  const std::string s = plain(v.raw);
  u64 n = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  return v.kind == ValueKind::integer && error == std::errc() ? std::optional(n) : std::nullopt;
}

}  // namespace terrace::toml
