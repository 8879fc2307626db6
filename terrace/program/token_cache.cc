#include "terrace/program/token_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <vector>

#include "terrace/core/error.h"
#include "terrace/core/new_file.h"
#include "terrace/io/sha256.h"
#include "terrace/io/unicode.h"

namespace terrace {
namespace {

constexpr std::string_view kMagic = "TRCTOKEN";
constexpr u32 kVersion = 1;
constexpr u64 kPiece = u64{1} << 20;

struct Header {
  u32 width = 2;
  u64 count = 0, vocabulary = 0;
  std::string text, tokenizer, tokens;  ///< hashes
};

std::string text_of(const Header& h) {
  std::string s(kMagic);
  const auto put = [&](const auto& x) { s.append(reinterpret_cast<const char*>(&x), sizeof x); };
  put(kVersion);
  put(h.width);
  put(h.count);
  put(h.vocabulary);
  s += h.text + h.tokenizer + h.tokens;
  s.resize(TokenCache::kHeaderBytes, '\0');
  return s;
}

std::vector<std::byte> bytes_of(const Header& h) {
  const std::string text = text_of(h);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// Calls `f` with the bytes [begin, end) of a file, a piece at a time.
template <class F>
void each_piece(io::WindowedFile& file, u64 begin, u64 end, F f) {
  std::vector<std::byte> piece(64 << 10);
  for (u64 at = begin; at < end; at += piece.size()) {
    const auto part = std::span(piece).first(std::min<u64>(piece.size(), end - at));
    file.read(at, part);
    f(std::span<const std::byte>(part));
  }
}

std::string hash_of(io::WindowedFile& file, u64 begin, u64 end) {
  io::Sha256 hash;
  each_piece(file, begin, end, [&](std::span<const std::byte> part) { hash.update(part); });
  return hash.hex();
}

/// Whether the file is a whole cache of this text and tokenizer; then `h` is its header.
bool is_cache(const std::string& path, Header& h) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return false;
  io::WindowedFile file(path, kPiece);
  if (file.size() < TokenCache::kHeaderBytes) return false;
  std::string start(TokenCache::kHeaderBytes, '\0');
  file.read(0, std::as_writable_bytes(std::span(start)));
  std::memcpy(&h.count, start.data() + 16, 8);
  constexpr std::size_t kTokensHash = 32 + 2 * io::Sha256::kHexDigits;
  h.tokens = start.substr(kTokensHash, io::Sha256::kHexDigits);
  return start == text_of(h) && h.count <= file.size() / h.width &&
         file.size() == TokenCache::kHeaderBytes + h.count * h.width &&
         hash_of(file, TokenCache::kHeaderBytes, file.size()) == h.tokens;
}

void encode(io::WindowedFile& text, const io::Tokenizer& tokenizer, const std::string& path, Header& h) {
  NewFile out(path);
  h.tokens.assign(io::Sha256::kHexDigits, '0');
  out.write(bytes_of(h));
  io::Sha256 hash;
  std::string piece;
  std::vector<std::byte> tokens;
  for (u64 at = 0; at < text.size();) {
    const u64 more = std::min(kPiece, text.size() - at);
    const std::size_t kept = piece.size();
    piece.resize(kept + more);
    text.read(at, std::as_writable_bytes(std::span(piece)).subspan(kept));
    at += more;
    const std::size_t cut = at < text.size() ? last_cut(piece) : piece.size();
    if (cut == 0) continue;
    const std::vector<i32> ids = tokenizer.encode(std::string_view(piece).substr(0, cut), false);
    tokens.resize(ids.size() * h.width);
    for (std::size_t i = 0; i < ids.size(); ++i) std::memcpy(tokens.data() + i * h.width, &ids[i], h.width);
    out.write(tokens);
    hash.update(tokens);
    h.count += ids.size();
    piece.erase(0, cut);
  }
  h.tokens = hash.hex();
  out.write_again(0, bytes_of(h));
  out.commit();
}

}  // namespace

std::size_t last_cut(std::string_view text) {
  const auto is_letter = [&](std::size_t i) {
    return (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
  };
  const auto is_space = [&](std::size_t i) {
    while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) --i;  // to a character's first byte
    return io::class_of(decode_utf8(text, i).value) == io::CharClass::space;
  };
  // The last four bytes may be a part of a character only.
  for (std::size_t p = text.size() - std::min<std::size_t>(text.size(), 4); p > 1; --p) {
    if (text[p] == ' ' && is_letter(p - 1) && is_letter(p + 1)) return p;
    if (text[p - 1] == '\n' && !is_space(p - 2) && !is_space(p)) return p;
  }
  return 0;
}

std::string tokenizer_sha256(const io::GgufFile& model) {
  io::Sha256 hash;
  for (const io::GgufEntry& e : model.entries()) {
    if (!e.key.starts_with("tokenizer.")) continue;
    hash.update(std::as_bytes(std::span(e.key)));
    each_piece(model.file(), e.offset, e.offset + e.bytes, [&](std::span<const std::byte> part) { hash.update(part); });
  }
  return hash.hex();
}

TokenCache encoded(const std::string& path, const io::GgufFile& model, const std::string& cache) {
  io::WindowedFile text(path, kPiece);
  if (text.size() == 0) throw Error(ErrorKind::bad_file, "is empty", path, "give a text");
  Header h;
  h.text = hash_of(text, 0, text.size());
  h.tokenizer = tokenizer_sha256(model);
  const io::GgufEntry* tokens = model.find("tokenizer.ggml.tokens");
  h.vocabulary = tokens ? tokens->count : 0;
  h.width = h.vocabulary <= (1 << 16) ? 2 : 4;
  if (!is_cache(cache, h)) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(cache).parent_path(), error);
    if (error) throw Error(ErrorKind::failure, "cannot be made: " + error.message(), cache);
    h.count = 0;
    encode(text, io::Tokenizer(model), cache, h);
    text.check_unchanged();
  }
  return {cache, h.width, static_cast<i64>(h.count), static_cast<i64>(h.vocabulary), h.tokenizer};
}

}  // namespace terrace
