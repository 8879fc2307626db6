#include "terrace/core/toml_scan.h"

#include <fmt/format.h>

#include <algorithm>

#include "terrace/core/utf8.h"

namespace terrace::toml {
namespace {

constexpr int kMaxDepth = 8;  // lists in lists; machine files need two
constexpr std::string_view kKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
constexpr std::string_view kDigits = "0123456789";

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

std::string shown(std::string_view s) {
  std::string out;
  for (char c : s.substr(0, 40)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

/// Passes digits, with single underscores between them; false if there are none.
bool skip_digits(std::string_view& s) {
  bool digit = false;
  while (!s.empty() && (kDigits.find(s.front()) != s.npos || (s.front() == '_' && digit))) {
    digit = s.front() != '_';
    s.remove_prefix(1);
  }
  return digit;
}

/// Whether a word is a number, and of which kind.
std::optional<ValueKind> number_kind(std::string_view s) {
  if (s.starts_with('+') || s.starts_with('-')) s.remove_prefix(1);
  if (s == "inf" || s == "nan") return ValueKind::floating;
  const std::string_view digits = s;
  if (!skip_digits(s)) return std::nullopt;
  if (digits.front() == '0' && digits.size() - s.size() > 1) return std::nullopt;
  if (s.empty()) return ValueKind::integer;
  if (s.front() == '.') {
    s.remove_prefix(1);
    if (!skip_digits(s)) return std::nullopt;
  }
  if (!s.empty() && (s.front() == 'e' || s.front() == 'E')) {
    s.remove_prefix(1);
    if (s.starts_with('+') || s.starts_with('-')) s.remove_prefix(1);
    if (!skip_digits(s)) return std::nullopt;
  }
  return s.empty() ? std::optional(ValueKind::floating) : std::nullopt;
}

}  // namespace

bool Scanner::next() {
  for (;;) {
    skip_blanks();
    if (rest_.empty()) return false;
    if (!at('#') && !at('\n') && !at('\r')) return true;
    end_line();
  }
}

char Scanner::take() {
  const char c = rest_.front();
  rest_.remove_prefix(1);
  return c;
}

void Scanner::expect(char c, std::string_view what) {
  if (!at(c)) fail(fmt::format("{}: '{}' is missing", what, c));
  rest_.remove_prefix(1);
}

void Scanner::skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size())); }

/// A comment, and the end of the line or of the text.
void Scanner::end_line() {
  skip_blanks();
  if (at('#')) {
    while (!rest_.empty() && !at('\n') && !rest_.starts_with("\r\n"))
      if (is_control(take())) fail("a control character stands in a comment");
  }
  if (rest_.empty()) return;
  if (at('\r')) rest_.remove_prefix(1);
  if (!at('\n')) fail("something follows on the line");
  rest_.remove_prefix(1);
  ++line_;
}

void Scanner::skip_escape() {
  if (rest_.empty()) fail("a text does not end");
  const char c = take();
  if (std::string_view("btnfr\"\\").find(c) != std::string_view::npos) return;
  const std::size_t digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits == 0) fail("a text has an unknown escape: write \\\\ for a backslash");
  constexpr std::string_view kHex = "0123456789abcdefABCDEF";
  u64 value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const std::size_t at = rest_.empty() ? std::string_view::npos : kHex.find(rest_[0]);
    if (at == std::string_view::npos) fail("an escape needs hexadecimal digits");
    value = value << 4 | (at < 16 ? at : at - 6);
    rest_.remove_prefix(1);
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) fail("an escape is no character");
}

void Scanner::skip_text() {
  const char quote = take();
  if (rest_.size() >= 2 && rest_[0] == quote && rest_[1] == quote)
    fail("texts of several lines are not read: write \\n in one line");
  for (;;) {
    if (rest_.empty() || at('\n')) fail("a text does not end on its line");
    const char c = take();
    if (c == quote) return;
    if (is_control(c)) fail("a control character stands in a text");
    if (c == '\\' && quote == '"') skip_escape();
  }
}

std::string Scanner::key() {
  if (at('"') || at('\'')) {
    const std::string_view before = rest_;
    skip_text();
    return text_of({ValueKind::text, before.substr(0, before.size() - rest_.size()), line_});
  }
  const std::size_t n = std::min(rest_.find_first_not_of(kKey), rest_.size());
  if (n == 0 && !rest_.empty() && static_cast<unsigned char>(rest_[0]) >= 0x80)
    fail("a key that is not ASCII must stand in quotes");
  if (n == 0) fail("a key is missing");
  const std::string k(rest_.substr(0, n));
  rest_.remove_prefix(n);
  return k;
}

Header Scanner::header() {
  Header h;
  h.line = line_;
  expect('[', "a header");
  if ((h.in_list = at('['))) rest_.remove_prefix(1);
  skip_blanks();
  h.first = key();
  skip_blanks();
  if (at('.')) {
    rest_.remove_prefix(1);
    skip_blanks();
    h.second = key();
    if (h.second.empty()) fail("a key is empty");
    skip_blanks();
    if (at('.')) fail("sections nest two deep at most");
  }
  expect(']', "a header");
  if (h.in_list) expect(']', "a header");
  end_line();
  return h;
}

Item Scanner::bare_item() {
  Item i;
  i.line = line_;
  i.key = key();
  skip_blanks();
  if (at('.')) fail("dotted keys are not read: write a section of that name");
  expect('=', fmt::format("key '{}'", shown(i.key)));
  skip_blanks();
  i.value = value();
  return i;
}

Item Scanner::item() {
  Item i = bare_item();
  end_line();
  return i;
}

std::string_view Scanner::items() {
  const std::string_view before = rest_;
  while (next() && !at('[')) item();
  return before.substr(0, before.size() - rest_.size());
}

Value Scanner::value() {
  const std::string_view before = rest_;
  Value v;
  v.line = line_;
  if (++depth_ > kMaxDepth) fail(fmt::format("lists nest more than {} deep", kMaxDepth));
  if (at('"') || at('\'')) {
    skip_text();
  } else if (at('[')) {
    v.kind = ValueKind::list;
    list([](const Value&) {});
  } else if (at('{')) {
    v.kind = ValueKind::table;
    table([](const Item&) {});
  } else {
    v.kind = word();
  }
  --depth_;
  v.raw = before.substr(0, before.size() - rest_.size());
  return v;
}

ValueKind Scanner::word() {
  const std::size_t n = std::min(rest_.find_first_of(" \t\r\n,]}#"), rest_.size());
  const std::string_view w = rest_.substr(0, n);
  if (w.empty()) fail("a value is missing");
  rest_.remove_prefix(n);
  if (w == "true" || w == "false") return ValueKind::boolean;
  if (const auto kind = number_kind(w); kind && w.size() <= 64) return *kind;
  fail(fmt::format("'{}' is no value: texts stand in quotes, numbers are decimal", shown(w)));
}

void Scanner::list(const std::function<void(const Value&)>& f) {
  expect('[', "a list");
  while (next() && !at(']')) {
    f(value());
    if (!next() || at(']')) break;
    expect(',', "a list");
  }
  expect(']', "a list");
}

void Scanner::table(const std::function<void(const Item&)>& f) {
  expect('{', "a table");
  skip_blanks();
  while (!at('}')) {
    f(bare_item());
    skip_blanks();
    if (at('}')) break;
    expect(',', "a table in one line");
    skip_blanks();
    if (at('}')) fail("a comma stands before '}'");
  }
  expect('}', "a table in one line");
}

Body whole(std::string_view text) {
  Body b;
  std::size_t line = 1;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text, at);
    if (c.value == kInvalid) throw SyntaxError{"a character is no UTF-8", line};
    line += c.value == '\n';
    at += c.bytes;
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  Scanner s(text);
  b.items = s.items();
  b.nested = s.rest();
  b.nested_line = s.line();
  while (!s.rest().empty()) s.header(), s.items();
  return b;
}

void each_section(const Body& b, const std::function<void(const Header&, const Body&)>& f) {
  Scanner s(b.nested, b.nested_line);
  while (s.next()) {
    const Header h = s.header();
    Body section;
    section.line = h.line;
    section.items_line = s.line();
    section.items = s.items();
    section.nested_line = s.line();
    const std::string_view before = s.rest();
    while (h.second.empty() && s.at('[')) {
      Scanner ahead = s;
      const Header below = ahead.header();
      if (below.first != h.first || below.second.empty()) break;
      ahead.items();
      s = ahead;
    }
    section.nested = before.substr(0, before.size() - s.rest().size());
    f(h, section);
  }
}

void each_item(const Body& b, const std::function<void(const Item&)>& f) {
  Scanner s(b.items, b.items_line);
  if (s.at('{')) return s.table(f);
  while (s.next()) f(s.item());
}

void each_element(const Value& list, const std::function<void(const Value&)>& f) {
  Scanner(list.raw, list.line).list(f);
}

}  // namespace terrace::toml
