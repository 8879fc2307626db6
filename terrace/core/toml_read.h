// Reading one table of a configuration or machine file: every key is asked for by name, and what nobody asked for is an
// error.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/toml_scan.h"
#include "terrace/core/units.h"

namespace terrace::toml {

/// A table with its dotted name ("tier dram.energy") for messages.
class TableReader {
 public:
  TableReader(const Body& body, std::string name, std::string_view origin, bool root = false)
      : body_(body), name_(std::move(name)), origin_(origin), root_(root) {}

  std::string text(const char* key);  ///< required, at most 4096 characters, not empty
  std::string text_or(const char* key, std::string fallback);
  std::string one_of(const char* key, std::initializer_list<std::string_view> values, const char* fallback = nullptr);
  bool flag(const char* key);  ///< false when absent
  /// Finite and > 0 and at most `max`.
  double number(const char* key);
  std::optional<double> optional_number(const char* key);
  std::optional<u64> optional_count(const char* key, u64 max);
  /// The same with zero allowed: figures that switch something off.
  double number_or_zero(const char* key, double otherwise);
  u64 count_or_zero(const char* key, u64 otherwise, u64 max);
  u64 count(const char* key, u64 max);
  std::vector<double> numbers(const char* key, std::size_t max);
  std::vector<std::string> texts(const char* key, std::size_t max);
  /// Seconds from KEY_s, KEY_ns: at most one of them; zero when neither stands there.
  Seconds duration(const std::string& key);
  std::optional<TableReader> table(const char* key);
  /// Calls `f` with each table of the list `key`, of which there are count_tables.
  void each_table(const char* key, const std::function<void(TableReader&)>& f);
  std::size_t count_tables(const char* key, std::size_t max);
  /// Calls `f` with the sections [key.NAME], in the order of the file.
  void each_named(const char* key, std::size_t max, const std::function<void(const std::string&, TableReader&)>& f);

  /// Refuses the first key that was not asked for.
  void finish() const;
  [[noreturn]] void fail(std::string_view what, std::string hint, const char* key = nullptr) const;
  void rename(std::string name) { name_ = std::move(name); }
  const std::string& name() const { return name_; }

 private:
  std::optional<Value> find(const char* key);
  bool is_zero(const char* key);
  std::string child(std::string_view key) const;
  /// The key that a section below this table stands for: of the root the first of its names, else the second.
  const std::string& key_of(const Header& h) const { return root_ ? h.first : h.second; }
  void each_section_of(const char* key, const std::function<void(const Header&, const Body&)>& f) const;
  double checked(const Value& v, const char* key) const;
  u64 checked_count(const Value& v, const char* key, u64 max) const;

  Body body_;
  std::string name_;
  std::string_view origin_;
  bool root_;
  std::vector<std::string> known_;
};

}  // namespace terrace::toml
