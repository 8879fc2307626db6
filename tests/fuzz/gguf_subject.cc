#include "fuzz/gguf_subject.h"

#include <cstdlib>
#include <optional>
#include <vector>

#include "fuzz/live_bytes.h"
#include "support/memory_file.h"
#include "terrace/core/error.h"
#include "terrace/io/tokenizer.h"

namespace terrace::fuzz {
namespace {

// A file of n bytes may take 4 n, and what does not depend on it: the window that it is read through, keys (at most
// 4096, each larger in memory than in the file), and messages.
constexpr std::size_t kFixed = (64 << 10) + (256 << 10) + (16 << 10);

void must(bool holds) {
  if (!holds) std::abort();
}

void walk(const io::GgufFile& f) {
  for (const io::GgufEntry& e : f.entries()) {
    must(e.offset <= f.size() && e.bytes <= f.size() - e.offset);
    if (e.type != io::GgufType::array) continue;
    if (e.element == io::GgufType::string)
      f.each_string(e, [](u64, std::string_view) {});
    else
      f.each_number(e, [](u64, double) {});
  }
  for (const io::GgufTensor& t : f.tensors()) must(t.offset <= f.size() && t.bytes <= f.size() - t.offset);
}

/// Byte by byte a text takes some sixty bytes a byte of its longest word (symbols and offers, doubled as they grow).
void encode_and_decode(const io::Tokenizer& t, std::string_view text) {
  const LiveBytesLimit limit(256 * text.size() + 4096);
  for (const bool special : {false, true}) {
    const std::vector<i32> ids = t.encode(text, special);
    must(ids.size() <= text.size());
    for (const i32 id : ids) must(id >= 0 && id < t.size());
    must(special || !text.empty() || ids.empty());
    const std::string once = t.decode(ids, true);
    must(once.size() <= text.size());  // bytes without a token are left out, nothing is added
  }
}

/// Reads the file; the tokenizer if it has a sound one.
std::optional<io::Tokenizer> read(const std::string& path, std::size_t size) {
  const LiveBytesLimit limit(4 * size + kFixed);
  const io::GgufFile f(path);
  walk(f);
  std::optional<io::Tokenizer> t(std::in_place, f);
  must(t->size() > 0 && (!t->eos() || *t->eos() < t->size()) && (!t->bos() || *t->bos() < t->size()));
  must(!t->add_bos() || t->bos());
  must(!t->eos() || t->is_end_of_text(*t->eos()));
  must(t->memory_bytes() <= 4 * size + kFixed && !t->pre().empty());
  return t;
}

void render(const std::string& path, std::size_t size) {
  const LiveBytesLimit limit(4 * size + kFixed);
  const io::GgufFile f(path);
  const std::string chat = io::render_chat(f.get_string("tokenizer.chat_template"), {{"user", "hello"}});
  must(chat.find("hello") != chat.npos && chat.size() <= size + 256);
}

}  // namespace

void use_gguf(std::span<const std::byte> bytes, std::string_view text) {
  const test::MemoryFile file(bytes);
  // Each on its own: a file without a tokenizer may still have a template.
  for (const bool with_tokenizer : {true, false}) {
    try {
      if (!with_tokenizer)
        render(file.path(), bytes.size());
      else if (const std::optional<io::Tokenizer> t = read(file.path(), bytes.size()))
        encode_and_decode(*t, text);
    } catch (const Error& e) { must(e.kind() == ErrorKind::bad_file && !e.message().empty() && !e.where().empty()); }
  }
}

}  // namespace terrace::fuzz
