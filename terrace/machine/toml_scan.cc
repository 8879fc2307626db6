#include <algorithm>

#include "terrace/machine/toml_read.h"

namespace terrace::machine::detail {
namespace {

/// Reads on from `at` behind an opening quote; the index behind the string, or of the first byte that must not be here.
std::size_t end_of_string(std::string_view text, std::size_t at, bool& foreign) {
  const char quote = text[at - 1];
  const std::string_view more = text.substr(at, 2);
  const bool many = more.size() == 2 && more[0] == quote && more[1] == quote;
  for (at += many ? 2 : 0; at < text.size(); ++at) {
    const char c = text[at];
    if (!many && c == '\n') return at;  // the parser refuses it
    if (many && quote == '"' && static_cast<unsigned char>(c) >= 0x80) return foreign = true, at;
    if (c == '\\' && quote == '"') {
      ++at;
    } else if (c == quote) {
      std::size_t quotes = 1;
      while (many && quotes < 5 && at + quotes < text.size() && text[at + quotes] == quote) ++quotes;
      if (!many || quotes >= 3) return at + quotes;
      at += quotes - 1;
    }
  }
  return at;
}

}  // namespace

std::size_t foreign_line(std::string_view text) {
  std::size_t at = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  bool foreign = false;
  while (at < text.size() && !foreign) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      at = end_of_string(text, at + 1, foreign);
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      foreign = true;
    } else {
      ++at;
    }
  }
  if (!foreign) return 0;
  return 1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

}  // namespace terrace::machine::detail
