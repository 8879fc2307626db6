// terrace inspect: what a GGUF file holds.
#include <fmt/format.h>

#include "terrace/cli/json.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/io/gguf.h"

namespace terrace::cli {
namespace {

constexpr u64 kShown = 4;          // elements of an array
constexpr std::size_t kLine = 72;  // characters of a string

std::string shorten(std::string_view s) {
  if (s.size() <= kLine) return Json::quote(s);
  std::size_t end = kLine;
  while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xC0) == 0x80) --end;  // whole characters only
  return Json::quote(s.substr(0, end)) + fmt::format("... {} bytes", s.size());
}

/// A value for people; arrays and long strings abbreviated.
std::string value_text(const io::GgufFile& file, const io::GgufEntry& e) {
  std::string s = "[";
  const auto item = [&](u64 i, const std::string& text) {
    if (i < kShown) s += (i ? ", " : "") + text;
  };
  switch (e.type) {
    case io::GgufType::array:
      if (e.element == io::GgufType::string)
        file.each_string(e, [&](u64 i, std::string_view t) {
          if (i < kShown) item(i, shorten(t));
        });
      else
        file.each_number(e, [&](u64 i, double x) {
          if (i < kShown) item(i, Json::number(x));
        });
      return s + fmt::format("{}] {} of {}", e.count > kShown ? ", ..." : "", e.count, name_of(e.element));
    case io::GgufType::string:
      if (const auto* text = std::get_if<std::string>(&e.scalar); text && text->size() == e.bytes)
        return shorten(*text);
      return fmt::format("... {} bytes", e.bytes);
    case io::GgufType::boolean: return std::get<bool>(e.scalar) ? "true" : "false";
    default:
      if (const auto* u = std::get_if<u64>(&e.scalar)) return std::to_string(*u);
      if (const auto* i = std::get_if<i64>(&e.scalar)) return std::to_string(*i);
      if (const auto* d = std::get_if<double>(&e.scalar)) return Json::number(*d);
      return "?";
  }
}

int inspect(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  const io::GgufFile file(path);
  std::FILE* out = text_stream(args);
  Json metadata = Json::object(), tensors = Json::array();
  fmt::print(out, "{}: GGUF, {}, {} keys, {} tensors, data at byte {}\n\n", path, human(Bytes{file.size()}),
             file.entries().size(), file.tensors().size(), file.data_offset());
  for (const io::GgufEntry& e : file.entries()) {
    const std::string value = value_text(file, e);
    fmt::print(out, "{:<44} {:<7} {}\n", e.key, name_of(e.type), value);
    const bool plain = e.type != io::GgufType::array && e.type != io::GgufType::string;
    if (plain)
      metadata.raw(e.key, value);
    else
      metadata.add(e.key, e.type == io::GgufType::string && std::get<std::string>(e.scalar).size() == e.bytes
                              ? std::get<std::string>(e.scalar)
                              : value);
  }
  fmt::print(out, "\n{:<40} {:<28} {:>14} {:>12}\n", "tensor", "type and shape", "offset", "bytes");
  for (const io::GgufTensor& t : file.tensors()) {
    fmt::print(out, "{:<40} {:<28} {:>14} {:>12}\n", t.name, to_string(t.spec), t.offset, t.bytes);
    Json shape = Json::array();
    for (int a = 0; a < t.spec.shape.rank; ++a) shape.push(t.spec.shape[a].value);
    tensors.push(Json::object()
                     .add("name", t.name)
                     .add("dtype", name_of(t.spec.dtype))
                     .add("layout", name_of(t.spec.layout))
                     .add("shape", shape)
                     .add("offset", t.offset)
                     .add("bytes", t.bytes));
  }
  if (args.has("json"))
    write_document(args, document("inspect")
                             .add("file", path)
                             .add("file_bytes", file.size())
                             .add("metadata", metadata)
                             .add("tensors", tensors));
  return 0;
}

}  // namespace

const Verb kInspect = {"inspect",
                       "show what a model file holds",
                       "FILE [FLAGS]",
                       "  terrace inspect model.gguf\n"
                       "  terrace inspect model.gguf --json - 2>/dev/null | head\n",
                       {},
                       inspect};

}  // namespace terrace::cli
