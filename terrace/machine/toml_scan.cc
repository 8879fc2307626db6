// Where a machine file may hold other characters than ASCII. toml++ 3.3 has undefined results when it asks of some
// whether they are blanks, and it asks in more places than a grammar would: it reads on past a quote in `1"é"`, past
// signs in `1=="é"`. So only lines are let through of which it is plain that they are comments or `key = "text"`.
#include <algorithm>

#include "terrace/machine/toml_read.h"

namespace terrace::machine::detail {
namespace {

bool is_foreign(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool all_ascii(std::string_view s) { return std::none_of(s.begin(), s.end(), is_foreign); }

void skip_blanks(std::string_view& s) { s.remove_prefix(std::min(s.find_first_not_of(" \t"), s.size())); }
bool blank_or_comment(std::string_view s) {
  skip_blanks(s);
  return s.empty() || s == "\r" || s.front() == '#';
}

/// Cuts a string in quotes off the front; false if there is none that ends.
bool skip_string(std::string_view& s) {
  if (s.empty() || (s.front() != '"' && s.front() != '\'')) return false;
  const char quote = s.front();
  for (std::size_t i = 1; i < s.size(); ++i) {
    if (s[i] == '\\' && quote == '"') {
      if (++i < s.size() && is_foreign(s[i])) return false;
    } else if (s[i] == quote) {
      s.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

/// A bare key, a blank (what is read as a value ends there), '=', a string, and at most a comment.
bool is_text_entry(std::string_view s) {
  constexpr std::string_view kKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  skip_blanks(s);
  const std::size_t key = std::min(s.find_first_not_of(kKey), s.size());
  s.remove_prefix(key);
  if (key == 0 || s.empty() || (s.front() != ' ' && s.front() != '\t')) return false;
  skip_blanks(s);
  if (s.empty() || s.front() != '=') return false;
  s.remove_prefix(1);
  skip_blanks(s);
  return skip_string(s) && blank_or_comment(s);
}

bool is_plain(std::string_view line) {
  if (all_ascii(line) || is_text_entry(line)) return true;
  const std::string_view before = line.substr(0, line.find('#'));  // nothing in quotes: a comment begins there
  return all_ascii(before) && before.find_first_of("\"'") == before.npos;
}

}  // namespace

std::size_t foreign_line(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (std::size_t at = 0, n = 1; at < text.size(); ++n) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (!is_plain(text.substr(at, end - at))) return n;
    at = end + 1;
  }
  return 0;
}

}  // namespace terrace::machine::detail
