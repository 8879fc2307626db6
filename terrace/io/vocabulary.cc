#include "terrace/io/vocabulary.h"

#include <fmt/format.h>

#include <bit>
#include <functional>

#include "terrace/core/error.h"
#include "terrace/io/unicode.h"

namespace terrace::io {
namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";
// Tables are at most 4/5 full, where a run of this length does not happen unless a file was made to cause it.
constexpr u32 kMaxProbes = 4096;

[[noreturn]] void fail(const GgufFile& f, std::string_view key, std::string what) {
  const GgufEntry* e = f.find(key);
  throw Error(
      ErrorKind::bad_file, std::move(what),
      e ? fmt::format("{}, byte {}, key '{}'", f.path(), e->offset, key) : fmt::format("{}, key '{}'", f.path(), key),
      "the tokenizer's data are damaged or incomplete: convert or download the model again");
}

const GgufEntry& require(const GgufFile& f, std::string_view key) {
  const GgufEntry* e = f.find(key);
  if (!e) fail(f, key, "the array is missing");
  if (e->type != GgufType::array || e->element != GgufType::string) fail(f, key, "is not an array of strings");
  return *e;
}

u64 mix(u64 x) {  // splitmix64's finalizer (Steele et al. 2014)
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
u64 pair_hash(u32 left, u32 right) { return mix((u64{left} << 32 | right) + 0x9e3779b97f4a7c15); }

std::size_t slots_for(u64 items) { return std::bit_ceil(static_cast<std::size_t>(items + items / 4 + 1)); }

/// GPT-2 writes each byte as a printable character (encoder.py, bytes_to_unicode): this is the way back.
constexpr std::array<std::int16_t, 324> byte_of_char() {
  std::array<std::int16_t, 324> table{};
  for (auto& x : table) x = -1;
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    table[static_cast<std::size_t>(itself ? b : next++)] = static_cast<std::int16_t>(b);
  }
  return table;
}
constexpr auto kByteOfChar = byte_of_char();

/// Appends the bytes that a token's written form stands for; characters that stand for no byte stay as they are.
void append_bytes(std::string& out, std::string_view written) {
  for (std::size_t at = 0; at < written.size();) {
    const Utf8Char c = decode_utf8(written, at);
    if (c.value < kByteOfChar.size() && kByteOfChar[c.value] >= 0)
      out += static_cast<char>(kByteOfChar[c.value]);
    else
      out += written.substr(at, c.bytes);
    at += c.bytes;
  }
}
}  // namespace

/// Text to token, needed while the merges are read only.
class Vocabulary::Index {
 public:
  Index(const Vocabulary& v, u64 count) : vocabulary_(v), slots_(slots_for(count), kNone) {}

  u32 find(std::string_view text) const { return slots_[slot(text)]; }
  /// Ordinary tokens come before special ones of the same text, then the first one wins.
  void insert(u32 id) {
    const std::size_t s = slot(vocabulary_.text(id));
    if (slots_[s] == kNone || (vocabulary_.special(slots_[s]) && !vocabulary_.special(id))) slots_[s] = id;
  }

 private:
  /// The slot that holds `text`, or the free one where it belongs.
  std::size_t slot(std::string_view text) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t s = mix(std::hash<std::string_view>{}(text)) & mask;
    for (u32 probes = 0; slots_[s] != kNone && vocabulary_.text(slots_[s]) != text; s = (s + 1) & mask)
      if (++probes > kMaxProbes) throw Error(ErrorKind::bad_file, "the tokens' hashes collide", std::string(kTokens));
    return s;
  }
  const Vocabulary& vocabulary_;
  std::vector<u32> slots_;
};

Vocabulary::Vocabulary(const GgufFile& file) {
  const GgufEntry& tokens = require(file, kTokens);
  const GgufEntry& merges = require(file, kMerges);
  if (tokens.count == 0 || tokens.count > 0x7FFFFFFF || tokens.bytes > 0xFFFFFFFF)
    fail(file, kTokens, fmt::format("{} tokens in {} bytes cannot be used", tokens.count, tokens.bytes));
  if (merges.count > 0x7FFFFFFF) fail(file, kMerges, fmt::format("{} merges cannot be used", merges.count));
  read_types(file, tokens.count);
  Index index(*this, tokens.count);
  read_tokens(file, tokens, index);
  for (u32 b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    bytes_[b] = index.find({&c, 1});
  }
  read_merges(file, merges, index);
}

void Vocabulary::read_types(const GgufFile& file, u64 count) {
  const GgufEntry* e = file.find(kTypes);
  if (!e) return;
  if (e->type != GgufType::array || e->count != count)
    fail(file, kTypes, fmt::format("has {} elements, {} has {}", e->count, kTokens, count));
  types_.reserve(count);
  file.each_number(*e, [&](u64 i, double type) {
    if (!(type >= 0 && type <= 6)) fail(file, kTypes, fmt::format("element {} is {}, no type of a token", i, type));
    types_.push_back(static_cast<std::uint8_t>(type));
  });
}

void Vocabulary::read_tokens(const GgufFile& file, const GgufEntry& tokens, Index& index) {
  blob_.reserve(tokens.bytes - 8 * tokens.count);  // written forms are never shorter than what they stand for
  offsets_.reserve(tokens.count + 1);
  offsets_.push_back(0);
  file.each_string(tokens, [&](u64 i, std::string_view written) {
    const auto id = static_cast<u32>(i);
    if (special(id))
      blob_ += written;
    else
      append_bytes(blob_, written);
    offsets_.push_back(static_cast<u32>(blob_.size()));
    index.insert(id);
  });
}

void Vocabulary::read_merges(const GgufFile& file, const GgufEntry& merges, const Index& index) {
  merges_.reserve(merges.count);
  slots_.assign(slots_for(merges.count), kNone);
  std::string left, right;
  const auto known = [&](u64 i, const std::string& text) {
    const u32 id = index.find(text);
    if (id == kNone) fail(file, kMerges, fmt::format("element {} names a token that does not exist", i));
    return id;
  };
  file.each_string(merges, [&](u64 i, std::string_view line) {
    const std::size_t space = line.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == line.size())
      fail(file, kMerges, fmt::format("element {} is not two tokens with a space between", i));
    left.clear();
    right.clear();
    append_bytes(left, line.substr(0, space));
    append_bytes(right, line.substr(space + 1));
    Merge m{known(i, left), known(i, right), 0};
    m.merged = known(i, left += right);
    merges_.push_back(m);
    insert_merge(static_cast<u32>(i));
  });
}

void Vocabulary::insert_merge(u32 rank) {
  const Merge& m = merges_[rank];
  const std::size_t mask = slots_.size() - 1;
  std::size_t s = pair_hash(m.left, m.right) & mask;
  for (u32 probes = 0; slots_[s] != kNone; s = (s + 1) & mask) {
    const Merge& other = merges_[slots_[s]];
    if (other.left == m.left && other.right == m.right) return;  // the first of two has the better rank
    if (++probes > kMaxProbes) throw Error(ErrorKind::bad_file, "the merges' hashes collide", std::string(kMerges));
  }
  slots_[s] = rank;
}

u32 Vocabulary::rank(u32 left, u32 right) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t s = pair_hash(left, right) & mask; slots_[s] != kNone; s = (s + 1) & mask) {
    const Merge& m = merges_[slots_[s]];
    if (m.left == left && m.right == right) return slots_[s];
  }
  return kNone;
}

u64 Vocabulary::memory_bytes() const {
  return sizeof(*this) + blob_.capacity() + offsets_.capacity() * sizeof(u32) + types_.capacity() +
         merges_.capacity() * sizeof(Merge) + slots_.capacity() * sizeof(u32);
}

}  // namespace terrace::io
