#include "terrace/io/splitter.h"

#include "terrace/io/unicode.h"

namespace terrace::io {
namespace {

CharClass class_at(std::string_view text, std::size_t at, std::size_t& bytes) {
  const Utf8Char c = decode_utf8(text, at);
  bytes = c.bytes;
  return class_of(c.value);
}

/// Bytes of 's, 't, 're, 've, 'm, 'll or 'd at the start of `text`, or 0.
std::size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text[1] == 's' || text[1] == 't' || text[1] == 'm' || text[1] == 'd') return 2;
  const std::string_view two = text.substr(1, 2);
  return two == "re" || two == "ve" || two == "ll" ? 3 : 0;
}

/// End of the run of `wanted` characters that starts at `at`.
std::size_t run_end(std::string_view text, std::size_t at, CharClass wanted, std::size_t* last = nullptr) {
  std::size_t n = 0;
  while (at < text.size() && class_at(text, at, n) == wanted) {
    if (last) *last = at;
    at += n;
  }
  return at;
}

/// Bytes of the first word of `text`, which is not empty.
std::size_t gpt2_word(std::string_view text) {
  if (const std::size_t n = contraction(text)) return n;
  const std::size_t body = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  std::size_t n = 0;
  if (const CharClass k = class_at(text, body, n); k != CharClass::space) return run_end(text, body, k);
  // \s+(?!\S): a run of spaces leaves its last one to the word that follows, unless it is the only one.
  std::size_t last = 0;
  const std::size_t end = run_end(text, 0, CharClass::space, &last);
  return end == text.size() || last == 0 ? end : last;
}

void split_gpt2(std::string_view text, const std::function<void(std::string_view)>& f) {
  while (!text.empty()) {
    const std::size_t n = gpt2_word(text);
    f(text.substr(0, n));
    text.remove_prefix(n);
  }
}

void split_smollm(std::string_view text, const std::function<void(std::string_view)>& f) {
  std::size_t begin = 0;
  for (std::size_t at = 0, n = 0; at < text.size(); at += n) {
    if (class_at(text, at, n) != CharClass::number) continue;
    split_gpt2(text.substr(begin, at - begin), f);
    f(text.substr(at, n));
    begin = at + n;
  }
  split_gpt2(text.substr(begin), f);
}

}  // namespace

std::optional<Splitter> splitter_of(std::string_view pre) {
  if (pre == "gpt-2") return Splitter::gpt2;
  if (pre == "smollm") return Splitter::smollm;
  return std::nullopt;
}

void split(Splitter s, std::string_view text, const std::function<void(std::string_view)>& f) {
  s == Splitter::gpt2 ? split_gpt2(text, f) : split_smollm(text, f);
}

}  // namespace terrace::io
