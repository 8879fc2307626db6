#include "terrace/cli/json.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/probe.h"

namespace terrace::cli {
namespace {

constexpr char kSeparator = '\x1e';  // between members; never inside, since control characters are escaped

}  // namespace

std::string Json::quote(std::string_view s) {
  std::string out = "\"";
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    const auto c = static_cast<unsigned char>(s.front());
    if (n == 0)
      out += "\xEF\xBF\xBD";
    else if (c == '"' || c == '\\')
      (out += '\\') += s.front();
    else if (c == '\n')
      out += "\\n";
    else if (c < 0x20 || c == 0x7f)
      out += fmt::format("\\u{:04x}", c);
    else
      out += s.substr(0, n);
    s.remove_prefix(n ? n : 1);
  }
  return out += '"';
}

std::string Json::number(double v) { return std::isfinite(v) ? fmt::format("{}", v) : "null"; }

Json& Json::put(std::string_view key, std::string_view value) {
  if (!body_.empty()) body_ += kSeparator;
  if (open_ == '{') (body_ += quote(key)) += ": ";
  body_ += value;
  return *this;
}

std::string Json::text(bool lines) const {
  std::string s(1, open_);
  if (lines) s += "\n  ";
  for (const char c : body_) {
    if (c == kSeparator)
      s += lines ? ",\n  " : ", ";
    else
      s += c;
  }
  if (lines) s += '\n';
  return s += close_;
}

Json document(std::string_view kind, const Machine* machine, std::optional<u64> seed) {
  Json doc = Json::object();
  doc.add("schema", 1).add("kind", kind).add("terrace", kVersion);
  doc.add("machine", Json::object()
                         .add("name", machine ? machine->name : "host")
                         .add("processor", machine ? machine->processor : processor_name()));
  if (seed) doc.add("seed", *seed);
  return doc;
}

void write_document(const Args& args, const Json& doc) {
  const auto path = args.text("json");
  if (!path) return;
  write_file(*path, doc.text(true) + "\n");
}

std::FILE* text_stream(const Args& args) { return args.text("json", "") == "-" ? stderr : stdout; }

}  // namespace terrace::cli
