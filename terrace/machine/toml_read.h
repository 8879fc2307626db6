// Reading one table of a machine file: every key is asked for by name, and what nobody asked for is an error.
#pragma once

namespace terrace::machine::detail {
/// Thrown where toml++ finds that something it took for granted does not hold.
struct BrokenAssumption {};
[[noreturn]] void broken_assumption();
}  // namespace terrace::machine::detail

// toml++ 3.3 asserts things that a damaged file breaks ("[=]", "a = [}"), and lets the optimizer build on them when
// NDEBUG is set. Here they are checked in every build, and a broken one is the file's error.
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : ::terrace::machine::detail::broken_assumption())
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#pragma push_macro("NDEBUG")
#undef NDEBUG
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::machine::detail {

/// The first line with other characters than ASCII that is neither a comment nor `key = "text"`; 0 if there is none.
std::size_t foreign_line(std::string_view text);

/// A table with its dotted name ("tier dram.energy") for messages.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string name, std::string origin)
      : table_(table), name_(std::move(name)), origin_(std::move(origin)) {}

  std::string text(const char* key);  ///< required, at most 4096 characters, not empty
  std::string text_or(const char* key, std::string fallback);
  std::string one_of(const char* key, std::initializer_list<std::string_view> values, const char* fallback = nullptr);
  bool flag(const char* key);  ///< false when absent
  /// Finite and > 0 and at most `max`.
  double number(const char* key);
  std::optional<double> optional_number(const char* key);
  std::optional<u64> optional_count(const char* key, u64 max);
  u64 count(const char* key, u64 max);
  std::vector<double> numbers(const char* key, std::size_t max);
  /// Seconds from KEY_s, KEY_ns: at most one of them; zero when neither stands there.
  Seconds duration(const std::string& key);
  std::optional<TableReader> table(const char* key);
  std::vector<TableReader> tables(const char* key, std::size_t max);
  /// All named sub-tables of `key`, in the order of the file.
  std::vector<std::pair<std::string, TableReader>> named_tables(const char* key, std::size_t max);

  /// Refuses the first key that was not asked for.
  void finish() const;
  [[noreturn]] void fail(std::string_view what, std::string hint, const char* key = nullptr) const;
  void rename(std::string name) { name_ = std::move(name); }
  const std::string& name() const { return name_; }

 private:
  const toml::node* find(const char* key);
  double checked(const toml::node& n, const char* key) const;
  u64 checked_count(const toml::node& n, const char* key, u64 max) const;
  const toml::table& table_;
  std::string name_, origin_;
  std::vector<std::string> known_;
};

}  // namespace terrace::machine::detail
