// The part of TOML that configurations and machine files use, read in place: spans of the text are handed out and no tree is built, so
// that a file cannot make the reader allocate. Not read: dotted keys, texts of several lines, dates, numbers that are
// not decimal. Sections nest two deep ([unit], [unit.rate]), and one of two names follows its parent directly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "terrace/core/units.h"

namespace terrace::toml {

struct SyntaxError {
  std::string what;
  std::size_t line;
};

enum class ValueKind : std::uint8_t { text, integer, floating, boolean, list, table };

/// A value as it stands in the file, quotes and brackets included.
struct Value {
  ValueKind kind = ValueKind::text;
  std::string_view raw;
  std::size_t line = 0;
};

/// `key = value`.
struct Item {
  std::string key;
  Value value;
  std::size_t line = 0;
};

/// `[first]`, `[first.second]`, or with two brackets.
struct Header {
  bool in_list = false;
  std::string first, second;
  std::size_t line = 0;
};

/// What stands under one name: a section, or a table in braces.
struct Body {
  std::string_view items;   ///< lines, or "{...}"
  std::string_view nested;  ///< a section's [NAME.KEY] sections
  std::size_t line = 1, items_line = 1, nested_line = 1;
};

/// Reads on from a place in the text; throws SyntaxError at the first thing that is not known here.
class Scanner {
 public:
  explicit Scanner(std::string_view text, std::size_t line = 1) : rest_(text), line_(line) {}
  std::size_t line() const { return line_; }
  std::string_view rest() const { return rest_; }

  /// Passes blanks, comments and ends of lines; false at the end of the text.
  bool next();
  bool at(char c) const { return !rest_.empty() && rest_.front() == c; }
  Header header();
  Item item();  ///< of a section: nothing but a comment follows on its line
  /// Passes the items before the next header.
  std::string_view items();
  /// The items of "{...}" and the elements of "[...]".
  void table(const std::function<void(const Item&)>& f);
  void list(const std::function<void(const Value&)>& f);

 private:
  [[noreturn]] void fail(std::string what) const { throw SyntaxError{std::move(what), line_}; }
  char take();
  void expect(char c, std::string_view what);
  void skip_blanks();
  void end_line();
  void skip_text();
  void skip_escape();
  std::string key();
  Item bare_item();
  Value value();
  ValueKind word();

  std::string_view rest_;
  std::size_t line_;
  int depth_ = 0;
};

/// The text before the first header, and all headers as `nested`. The whole text is well-formed.
Body whole(std::string_view text);
/// Calls `f` with the sections of `nested`, each with those that belong to it.
void each_section(const Body& b, const std::function<void(const Header&, const Body&)>& f);
void each_item(const Body& b, const std::function<void(const Item&)>& f);
void each_element(const Value& list, const std::function<void(const Value&)>& f);

/// A text without its quotes and escapes.
std::string text_of(const Value& v);
double number_of(const Value& v);
/// An integer that is not negative, exactly; nothing if it does not fit.
std::optional<u64> count_of(const Value& v);

}  // namespace terrace::toml
