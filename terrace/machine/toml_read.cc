#include "terrace/machine/toml_read.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "terrace/core/error.h"

namespace terrace::machine::detail {

void broken_assumption() { throw BrokenAssumption{}; }

void TableReader::fail(std::string_view what, std::string hint, const char* key) const {
  const toml::node* n = key ? table_.get(key) : nullptr;
  const auto line = (n ? n->source() : table_.source()).begin.line;
  std::string at = origin_;
  if (line) at += fmt::format(":{}", line);
  std::string subject = name_;
  if (key) subject += subject.empty() ? key : fmt::format(".{}", key);
  throw Error(ErrorKind::bad_file, subject.empty() ? std::string(what) : fmt::format("{}: {}", subject, what), at,
              std::move(hint));
}

const toml::node* TableReader::find(const char* key) {
  known_.emplace_back(key);
  return table_.get(key);
}

std::string TableReader::text_or(const char* key, std::string fallback) {
  const toml::node* n = find(key);
  if (!n) return fallback;
  const auto* s = n->as_string();
  if (!s || s->get().empty()) fail("must be text that is not empty", "write it in quotes", key);
  if (s->get().size() > 4096) fail("is longer than 4096 characters", "shorten it", key);
  return s->get();
}

std::string TableReader::text(const char* key) {
  std::string s = text_or(key, {});
  if (s.empty()) fail(fmt::format("key '{}' is missing", key), fmt::format("add {} = \"...\"", key));
  return s;
}

std::string TableReader::one_of(const char* key, std::initializer_list<std::string_view> values, const char* fallback) {
  std::string s = fallback ? text_or(key, fallback) : text(key);
  if (std::find(values.begin(), values.end(), s) == values.end())
    fail(fmt::format("has no value '{}'", s.substr(0, 80)), fmt::format("one of: {}", fmt::join(values, ", ")), key);
  return s;
}

bool TableReader::flag(const char* key) {
  const toml::node* n = find(key);
  if (!n) return false;
  const auto* b = n->as_boolean();
  if (!b) fail("must be true or false", "without quotes", key);
  return b->get();
}

double TableReader::checked(const toml::node& n, const char* key) const {
  double v = 0;
  if (const auto* i = n.as_integer())
    v = static_cast<double>(i->get());
  else if (const auto* f = n.as_floating_point())
    v = f->get();
  else
    fail("must be a number", "without quotes; units stand in the key's name", key);
  if (!std::isfinite(v) || v <= 0) fail("must be finite and above zero", "leave the key out when it is unknown", key);
  if (v > 1e30 || v < 1e-30) fail("is no physical figure", "units stand in the key's name", key);
  return v;
}

u64 TableReader::checked_count(const toml::node& n, const char* key, u64 max) const {
  const double v = checked(n, key);
  if (v != std::floor(v) || v > static_cast<double>(max))
    fail("must be a whole number", fmt::format("from 1 to {}", max), key);
  if (const auto* i = n.as_integer()) return static_cast<u64>(i->get());  // exact above 2^53
  return static_cast<u64>(v);
}

std::optional<double> TableReader::optional_number(const char* key) {
  const toml::node* n = find(key);
  if (!n) return std::nullopt;
  return checked(*n, key);
}

double TableReader::number(const char* key) {
  const auto v = optional_number(key);
  if (!v) fail(fmt::format("key '{}' is missing", key), fmt::format("add {} = NUMBER", key));
  return *v;
}

std::optional<u64> TableReader::optional_count(const char* key, u64 max) {
  const toml::node* n = find(key);
  if (!n) return std::nullopt;
  return checked_count(*n, key, max);
}

u64 TableReader::count(const char* key, u64 max) {
  const auto v = optional_count(key, max);
  if (!v) fail(fmt::format("key '{}' is missing", key), fmt::format("add {} = NUMBER", key));
  return *v;
}

std::vector<double> TableReader::numbers(const char* key, std::size_t max) {
  std::vector<double> out;
  const toml::node* n = find(key);
  if (!n) return out;
  const auto* a = n->as_array();
  if (!a || a->empty()) fail("must be a list of numbers", "for example [25e9, 40e9]", key);
  if (a->size() > max) fail(fmt::format("has {} entries", a->size()), fmt::format("at most {}", max), key);
  for (const toml::node& e : *a) out.push_back(checked(e, key));
  return out;
}

Seconds TableReader::duration(const std::string& key) {
  const std::string s = key + "_s", ns = key + "_ns";
  const auto seconds = optional_number(s.c_str()), nanos = optional_number(ns.c_str());
  if (seconds && nanos) fail("stands here in two units", fmt::format("keep {} or {}", s, ns), ns.c_str());
  return Seconds{seconds ? *seconds : nanos ? *nanos * 1e-9 : 0.0};
}

std::optional<TableReader> TableReader::table(const char* key) {
  const toml::node* n = find(key);
  if (!n) return std::nullopt;
  const auto* t = n->as_table();
  if (!t) fail("must be a table", fmt::format("write [{}]", key), key);
  return TableReader(*t, name_.empty() ? key : fmt::format("{}.{}", name_, key), origin_);
}

std::vector<TableReader> TableReader::tables(const char* key, std::size_t max) {
  std::vector<TableReader> out;
  const toml::node* n = find(key);
  if (!n) return out;
  const auto* a = n->as_array();
  if (!a) fail("must be a list of tables", fmt::format("write [[{}]]", key), key);
  if (a->size() > max) fail(fmt::format("has {} entries", a->size()), fmt::format("at most {}", max), key);
  for (const toml::node& e : *a) {
    const auto* t = e.as_table();
    if (!t) fail("must be a list of tables", fmt::format("write [[{}]]", key), key);
    const std::string name = fmt::format("{} {}", key, out.size() + 1);
    out.emplace_back(*t, name_.empty() ? name : fmt::format("{}.{}", name_, name), origin_);
  }
  return out;
}

std::vector<std::pair<std::string, TableReader>> TableReader::named_tables(const char* key, std::size_t max) {
  std::vector<std::pair<std::string, TableReader>> out;
  const toml::node* n = find(key);
  if (!n) return out;
  const auto* all = n->as_table();
  if (!all) fail("must hold named tables", fmt::format("write [{}.NAME]", key), key);
  if (all->size() > max) fail(fmt::format("has {} entries", all->size()), fmt::format("at most {}", max), key);
  for (const auto& [k, v] : *all) {
    const auto* t = v.as_table();
    const std::string name(k.str());
    if (!t) fail(fmt::format("'{}' must be a table", name.substr(0, 80)), fmt::format("write [{}.NAME]", key), key);
    out.emplace_back(name, TableReader(*t, fmt::format("{} {}", key, name.substr(0, 80)), origin_));
  }
  return out;
}

void TableReader::finish() const {
  for (const auto& [k, v] : table_) {
    const std::string key(k.str());
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    fail("unknown key", fmt::format("known here: {}", fmt::join(known_, ", ")), key.c_str());
  }
}

}  // namespace terrace::machine::detail
