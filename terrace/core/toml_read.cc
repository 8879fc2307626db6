#include "terrace/core/toml_read.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "terrace/core/error.h"
#include "terrace/core/utf8.h"

namespace terrace::toml {

void TableReader::fail(std::string_view what, std::string hint, const char* key) const {
  std::size_t line = body_.line;
  if (key) {
    each_item(body_, [&](const Item& i) {
      if (i.key == key) line = i.line;
    });
    each_section_of(key, [&](const Header& h, const Body&) { line = h.line; });
  }
  std::string subject = name_;
  if (key) subject += subject.empty() ? key : fmt::format(".{}", key);
  // Names from the file stand in these.
  throw Error(ErrorKind::bad_file,
              without_controls(subject.empty() ? std::string(what) : fmt::format("{}: {}", subject, what)),
              fmt::format("{}:{}", origin_, line), without_controls(hint));
}

std::string TableReader::child(std::string_view key) const {
  return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
}

void TableReader::each_section_of(const char* key, const std::function<void(const Header&, const Body&)>& f) const {
  each_section(body_, [&](const Header& h, const Body& b) {
    if (key_of(h) == key) f(h, b);
  });
}

std::optional<Value> TableReader::find(const char* key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  std::optional<Value> found;
  each_item(body_, [&](const Item& i) {
    if (i.key != key) return;
    if (found) fail("stands twice", "keep one of the two", key);
    found = i.value;
  });
  return found;
}

std::string TableReader::text_or(const char* key, std::string fallback) {
  const std::optional<Value> v = find(key);
  if (!v) return fallback;
  if (v->kind != ValueKind::text || v->raw.size() == 2)
    fail("must be text that is not empty", "write it in quotes", key);
  std::string s = text_of(*v);
  if (s.size() > 4096) fail("is longer than 4096 characters", "shorten it", key);
  return s;
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
  const std::optional<Value> v = find(key);
  if (!v) return false;
  if (v->kind != ValueKind::boolean) fail("must be true or false", "without quotes", key);
  return v->raw == "true";
}

double TableReader::checked(const Value& n, const char* key) const {
  if (n.kind != ValueKind::integer && n.kind != ValueKind::floating)
    fail("must be a number", "without quotes; units stand in the key's name", key);
  const double v = number_of(n);
  if (!std::isfinite(v) || v <= 0) fail("must be finite and above zero", "leave the key out when it is unknown", key);
  if (v > 1e30 || v < 1e-30) fail("is no physical figure", "units stand in the key's name", key);
  return v;
}

u64 TableReader::checked_count(const Value& n, const char* key, u64 max) const {
  const double v = checked(n, key);
  if (v != std::floor(v) || v > static_cast<double>(max))
    fail("must be a whole number", fmt::format("from 1 to {}", max), key);
  const u64 exact = count_of(n).value_or(static_cast<u64>(v));  // doubles are not, above 2^53
  if (exact > max) fail("must be a whole number", fmt::format("from 1 to {}", max), key);
  return exact;
}

std::optional<double> TableReader::optional_number(const char* key) {
  const std::optional<Value> v = find(key);
  return v ? std::optional(checked(*v, key)) : std::nullopt;
}

bool TableReader::is_zero(const char* key) {
  const std::optional<Value> v = find(key);
  return v && (v->kind == ValueKind::integer || v->kind == ValueKind::floating) && number_of(*v) == 0;
}

double TableReader::number_or_zero(const char* key, double otherwise) {
  return is_zero(key) ? 0 : optional_number(key).value_or(otherwise);
}

u64 TableReader::count_or_zero(const char* key, u64 otherwise, u64 max) {
  return is_zero(key) ? 0 : optional_count(key, max).value_or(otherwise);
}

double TableReader::number(const char* key) {
  const auto v = optional_number(key);
  if (!v) fail(fmt::format("key '{}' is missing", key), fmt::format("add {} = NUMBER", key));
  return *v;
}

std::optional<u64> TableReader::optional_count(const char* key, u64 max) {
  const std::optional<Value> v = find(key);
  return v ? std::optional(checked_count(*v, key, max)) : std::nullopt;
}

u64 TableReader::count(const char* key, u64 max) {
  const auto v = optional_count(key, max);
  if (!v) fail(fmt::format("key '{}' is missing", key), fmt::format("add {} = NUMBER", key));
  return *v;
}

std::vector<double> TableReader::numbers(const char* key, std::size_t max) {
  std::vector<double> out;
  const std::optional<Value> v = find(key);
  if (!v) return out;
  std::size_t n = 0;
  if (v->kind == ValueKind::list) each_element(*v, [&](const Value&) { ++n; });
  if (n == 0) fail("must be a list of numbers", "for example [25e9, 40e9]", key);
  if (n > max) fail(fmt::format("has {} entries", n), fmt::format("at most {}", max), key);
  out.reserve(n);
  each_element(*v, [&](const Value& e) { out.push_back(checked(e, key)); });
  return out;
}

std::vector<std::string> TableReader::texts(const char* key, std::size_t max) {
  std::vector<std::string> out;
  const std::optional<Value> v = find(key);
  if (!v) return out;
  bool sound = v->kind == ValueKind::list;
  if (sound)
    each_element(*v, [&](const Value& e) {
      sound = sound && e.kind == ValueKind::text && e.raw.size() <= 4096 && out.size() < max;
      if (sound) out.push_back(text_of(e));
    });
  if (!sound || out.empty())
    fail(fmt::format("must be a list of 1 to {} texts", max), "for example [\"a\", \"b\"]", key);
  return out;
}

Seconds TableReader::duration(const std::string& key) {
  const std::string s = key + "_s", ns = key + "_ns";
  const auto seconds = optional_number(s.c_str()), nanos = optional_number(ns.c_str());
  if (seconds && nanos) fail("stands here in two units", fmt::format("keep {} or {}", s, ns), ns.c_str());
  return Seconds{seconds ? *seconds : nanos ? *nanos * 1e-9 : 0.0};
}

std::optional<TableReader> TableReader::table(const char* key) {
  std::optional<Body> found;
  if (const std::optional<Value> v = find(key)) {
    if (v->kind != ValueKind::table) fail("must be a table", fmt::format("write [{}]", key), key);
    found = Body{v->raw, {}, v->line, v->line, v->line};
  }
  each_section_of(key, [&](const Header& h, const Body& b) {
    if (found) fail("stands twice", "keep one of the two", key);
    if (h.in_list || (root_ && !h.second.empty())) fail("must be a table", fmt::format("write [{}]", key), key);
    found = b;
  });
  if (!found) return std::nullopt;
  return TableReader(*found, child(key), origin_);
}

void TableReader::each_table(const char* key, const std::function<void(TableReader&)>& f) {
  std::size_t n = 0;
  const std::string wanted =
      name_.empty() || root_ ? fmt::format("write [[{}]]", key) : fmt::format("write [[NAME.{}]]", key);
  const auto one = [&](const Body& b) {
    TableReader t(b, child(fmt::format("{} {}", key, ++n)), origin_);
    f(t);
  };
  const std::optional<Value> v = find(key);
  if (v && v->kind != ValueKind::list) fail("must be a list of tables", wanted, key);
  if (v) {
    each_element(*v, [&](const Value& e) {
      if (e.kind != ValueKind::table) fail("must be a list of tables", wanted, key);
      one(Body{e.raw, {}, e.line, e.line, e.line});
    });
  }
  each_section_of(key, [&](const Header& h, const Body& b) {
    if (v) fail("stands twice", "keep one of the two", key);
    if (root_ && !h.second.empty())
      fail(fmt::format("'{}' stands apart from its table", h.second.substr(0, 80)),
           fmt::format("write it right below its [[{}]]", key), key);
    if (!h.in_list) fail("must be a list of tables", wanted, key);
    one(b);
  });
}

std::size_t TableReader::count_tables(const char* key, std::size_t max) {
  std::size_t n = 0;
  each_table(key, [&](TableReader&) { ++n; });
  if (n > max) fail(fmt::format("has {} entries", n), fmt::format("at most {}", max), key);
  return n;
}

void TableReader::each_named(const char* key, std::size_t max,
                             const std::function<void(const std::string&, TableReader&)>& f) {
  if (find(key)) fail("must hold named tables", fmt::format("write [{}.NAME]", key), key);
  std::size_t n = 0;
  each_section_of(key, [&](const Header& h, const Body& b) {
    if (h.in_list || h.second.empty()) fail("must hold named tables", fmt::format("write [{}.NAME]", key), key);
    if (++n > max) fail(fmt::format("has more than {} entries", max), fmt::format("at most {}", max), key);
    TableReader t(b, fmt::format("{} {}", key, h.second.substr(0, 80)), origin_);
    f(h.second, t);
  });
}

void TableReader::finish() const {
  const auto check = [&](const std::string& key) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) return;
    const std::string hint = fmt::format("known here: {}", fmt::join(known_, ", "));
    fail("unknown key", hint, key.c_str());
  };
  each_item(body_, [&](const Item& i) { check(i.key); });
  each_section(body_, [&](const Header& h, const Body&) { check(key_of(h)); });
}

}  // namespace terrace::toml
