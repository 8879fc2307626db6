// terrace check-file: whether a model file is whole, well formed, and free of NaN and infinity.
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

#include "terrace/cli/json.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/io/gguf.h"

namespace terrace::cli {
namespace {

bool bad_half(const std::byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, 2);
  return (bits & 0x7C00) == 0x7C00;
}
bool bad_float(const std::byte* p) {
  u32 bits = 0;
  std::memcpy(&bits, p, 4);
  return (bits & 0x7F800000u) == 0x7F800000u;
}

/// How numbers lie in a layout: `period` bytes with floating-point numbers at the front.
struct Pattern {
  u64 period;
  int halves;  // 0: one float
};
Pattern pattern_of(const TensorSpec& s) {
  switch (s.layout) {
    case Layout::q8_0: return {34, 1};
    case Layout::q4_0: return {18, 1};
    case Layout::q4_1: return {20, 2};
    default: return s.dtype == DType::f16 ? Pattern{2, 1} : Pattern{4, 0};
  }
}

/// Offset in the file of the first number that is none.
std::optional<u64> first_bad(const io::GgufFile& file, const io::GgufTensor& t, std::vector<std::byte>& buffer,
                             const auto& progress) {
  const Pattern p = pattern_of(t.spec);
  const u64 chunk = round_down(buffer.size(), p.period);
  for (u64 done = 0; done < t.bytes; done += chunk) {
    const u64 n = std::min(chunk, t.bytes - done);
    file.file().read(t.offset + done, {buffer.data(), static_cast<std::size_t>(n)});
    progress(n);
    if (t.spec.dtype == DType::i32) continue;
    for (u64 i = 0; i + p.period <= n; i += p.period) {
      const std::byte* at = buffer.data() + i;
      const bool bad = p.halves == 0 ? bad_float(at) : bad_half(at) || (p.halves == 2 && bad_half(at + 2));
      if (bad) return t.offset + done + i;
    }
  }
  return std::nullopt;
}

/// The finding in an error of the reader, whose `where` is "PATH, byte N, tensor 'T'" (or a key, or nothing more);
/// nothing if the error is of no place in the file, as when it cannot be opened.
std::optional<Json> finding_of(const Error& e, const std::string& path) {
  const std::string front = path + ", byte ", tensor = ", tensor '";
  if (e.kind() != ErrorKind::bad_file || !e.where().starts_with(front)) return std::nullopt;
  const std::string_view rest = std::string_view(e.where()).substr(front.size());
  u64 offset = 0;
  const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), offset);
  if (code != std::errc{}) return std::nullopt;
  const std::string_view subject(end, static_cast<std::size_t>(rest.data() + rest.size() - end));
  Json j = Json::object();
  if (subject.starts_with(tensor) && subject.ends_with('\''))
    j.add("tensor", subject.substr(tensor.size(), subject.size() - tensor.size() - 1));
  else
    j.raw("tensor", "null");
  return j.add("offset", offset).add("what", e.message());
}

/// Opening checks every count, offset and size; what is wrong becomes the document, and goes on as the error it is.
io::GgufFile open_checked(const Args& args, const std::string& path) {
  try {
    return io::GgufFile(path);
  } catch (const Error& e) {
    if (const auto finding = finding_of(e, path))
      write_document(args, document("check-file")
                               .add("file", path)
                               .add("sound", false)
                               .raw("n_tensors", "null")
                               .raw("tensor_bytes", "null")
                               .add("findings", Json::array().push(*finding)));
    throw;
  }
}

int check_file(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  const io::GgufFile file = open_checked(args, path);
  u64 all = 0, done = 0;
  for (const io::GgufTensor& t : file.tensors()) all += t.bytes;
  std::vector<std::byte> buffer(60 << 10);
  Bar bar("checking");
  Json findings = Json::array();
  std::string text;
  int n_bad = 0;
  for (const io::GgufTensor& t : file.tensors()) {
    if (cancelled()) throw Error(ErrorKind::interrupted, "interrupted", path);
    const auto bad =
        first_bad(file, t, buffer, [&](u64 n) { bar.show(static_cast<double>(done += n) / static_cast<double>(all)); });
    if (!bad) continue;
    ++n_bad;
    text += fmt::format("{}: NaN or infinity in tensor {} at byte {}\n", path, t.name, *bad);
    findings.push(Json::object().add("tensor", t.name).add("offset", *bad).add("what", "NaN or infinity"));
  }
  bar.clear();
  std::FILE* out = text_stream(args);
  if (n_bad == 0) text = fmt::format("{}: sound ({} tensors, {})\n", path, file.tensors().size(), human(Bytes{all}));
  std::fputs(text.c_str(), out);
  write_document(args, document("check-file")
                           .add("file", path)
                           .add("sound", n_bad == 0)
                           .add("n_tensors", file.tensors().size())
                           .add("tensor_bytes", all)
                           .add("findings", findings));
  if (n_bad == 0) return 0;
  throw Error(ErrorKind::bad_file, fmt::format("{} of {} tensors hold NaN or infinity", n_bad, file.tensors().size()),
              path, "download the file again, or convert it again from its source");
}

}  // namespace

const Verb kCheckFile = {
    "check-file", "say whether a model file is sound", "FILE", "  terrace check-file model.gguf\n", {}, check_file};

}  // namespace terrace::cli
