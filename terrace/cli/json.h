// JSON documents, written in the order in which things are added. (Reading goes through a real parser.)
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>

#include "terrace/cli/args.h"
#include "terrace/machine/machine.h"

namespace terrace::cli {

/// An object or array under construction.
class Json {
 public:
  static Json object() { return Json('{', '}'); }
  static Json array() { return Json('[', ']'); }

  Json& add(std::string_view key, const Json& v) { return put(key, v.text()); }
  Json& add(std::string_view key, std::string_view v) { return put(key, quote(v)); }
  Json& add(std::string_view key, const char* v) { return put(key, quote(v)); }
  Json& add(std::string_view key, const std::string& v) { return put(key, quote(v)); }
  Json& add(std::string_view key, double v) { return put(key, number(v)); }
  Json& add(std::string_view key, bool v) { return put(key, v ? "true" : "false"); }
  Json& add(std::string_view key, std::integral auto v) { return put(key, std::to_string(v)); }
  Json& add(std::string_view key, Bytes v) { return put(key, std::to_string(v.count)); }
  /// `text` is JSON already.
  Json& raw(std::string_view key, std::string_view text) { return put(key, text); }

  Json& push(const Json& v) { return put({}, v.text()); }
  Json& push(std::string_view v) { return put({}, quote(v)); }
  Json& push(double v) { return put({}, number(v)); }
  Json& push(std::integral auto v) { return put({}, std::to_string(v)); }

  /// Members of the outermost object stand on lines of their own.
  std::string text(bool lines = false) const;

  /// A string in quotes; bytes that are no UTF-8 become U+FFFD.
  static std::string quote(std::string_view s);
  /// The shortest text that reads back the same; null for what JSON cannot say.
  static std::string number(double v);

 private:
  Json(char open, char close) : open_(open), close_(close) {}
  Json& put(std::string_view key, std::string_view value);
  char open_, close_;
  std::string body_;
};

/// What every document begins with: schema, kind (the verb), version, machine, seed where one matters. Without a
/// machine it is this host: its processor as the system names it, nothing measured.
Json document(std::string_view kind, const Machine* machine = nullptr, std::optional<u64> seed = std::nullopt);

/// Writes it where --json says, if it says so.
void write_document(const Args& args, const Json& doc);
/// Standard output, or standard error when the document takes the former.
std::FILE* text_stream(const Args& args);

}  // namespace terrace::cli
