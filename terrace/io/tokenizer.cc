#include "terrace/io/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "terrace/core/error.h"
#include "terrace/io/gguf_cursor.h"
#include "terrace/io/splitter.h"
#include "terrace/io/vocabulary.h"

namespace terrace::io {
namespace {

// Longer texts of special tokens are in no prompt; looking for them at every byte could take the square of its length.
constexpr std::size_t kMaxSpecial = 1024;
constexpr std::string_view kTurnEnds[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>"};

[[noreturn]] void fail(const GgufFile& f, std::string_view key, std::string what, std::string hint) {
  throw Error(ErrorKind::bad_file, std::move(what), fmt::format("{}, key '{}'", f.path(), key), std::move(hint));
}

Splitter read_splitter(const GgufFile& f, std::string& pre) {
  constexpr std::string_view model_key = "tokenizer.ggml.model", pre_key = "tokenizer.ggml.pre";
  const std::optional<std::string> model = f.get_string(model_key);
  if (!model) fail(f, model_key, "the file has no tokenizer", "use a model file that contains one");
  if (*model != "gpt2")
    fail(f, model_key, fmt::format("tokenizer '{}' is not supported", detail::shown(*model)),
         "supported: gpt2 (byte-level BPE)");
  pre = f.get_string(pre_key).value_or("");
  const std::optional<Splitter> s = splitter_of(pre);
  if (!s)
    fail(f, pre_key, fmt::format("pre-tokenizer '{}' is not supported", detail::shown(pre)),
         "supported: smollm, gpt-2");
  return *s;
}

/// Merges the pairs of one word in the order of their ranks, the leftmost first among equals.
class WordMerger {
 public:
  explicit WordMerger(const Vocabulary& v) : v_(v) {}

  void encode(std::string_view word, std::vector<i32>& out) {
    if (word.size() >= Vocabulary::kNone)
      throw Error(ErrorKind::usage, "a text of 4 GiB without a break cannot be tokenized");
    symbols_.clear();
    for (std::size_t i = 0; i < word.size(); ++i) {
      const auto at = static_cast<u32>(i);
      symbols_.push_back({v_.byte_token(static_cast<unsigned char>(word[i])), at == 0 ? kEnd : at - 1, at + 1});
    }
    if (!symbols_.empty()) symbols_.back().next = kEnd;
    heap_.clear();
    for (u32 i = 0; i + 1 < symbols_.size(); ++i) offer(i);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const u64 best = heap_.back();
      heap_.pop_back();
      apply(static_cast<u32>(best >> 32), static_cast<u32>(best));
    }
    for (u32 i = 0; i < symbols_.size(); i = symbols_[i].next) {
      if (symbols_[i].id != Vocabulary::kNone) out.push_back(static_cast<i32>(symbols_[i].id));
    }
  }

 private:
  static constexpr u32 kEnd = 0xFFFFFFFF;
  struct Symbol {
    u32 id, previous, next;
  };

  u32 rank_at(u32 i) const {
    const Symbol& s = symbols_[i];
    if (s.id == Vocabulary::kNone || s.next == kEnd) return Vocabulary::kNone;
    const u32 right = symbols_[s.next].id;
    return right == Vocabulary::kNone ? Vocabulary::kNone : v_.rank(s.id, right);
  }
  void offer(u32 i) {
    const u32 rank = rank_at(i);
    if (rank == Vocabulary::kNone) return;
    heap_.push_back(u64{rank} << 32 | i);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  /// An offer counts only if the pair at `i` is still the one of this rank: neighbours may have merged since.
  void apply(u32 rank, u32 i) {
    if (rank_at(i) != rank) return;
    Symbol& s = symbols_[i];
    Symbol& gone = symbols_[s.next];
    s.id = v_.merge(rank).merged;
    s.next = gone.next;
    gone = {Vocabulary::kNone, kEnd, kEnd};
    if (s.next != kEnd) symbols_[s.next].previous = i;
    offer(i);
    if (s.previous != kEnd) offer(s.previous);
  }

  const Vocabulary& v_;
  std::vector<Symbol> symbols_;  // one a byte; merged ones are linked past
  std::vector<u64> heap_;        // rank, position of the left symbol
};

}  // namespace

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  Splitter splitter = Splitter::gpt2;
  std::string pre;
  std::optional<i32> bos, eos;
  bool add_bos = false;
  std::vector<i32> ends;      // tokens that end a turn
  std::vector<u32> specials;  // control and user-defined tokens, sorted by text
  std::array<bool, 256> special_first{};

  explicit Impl(const GgufFile& f) : vocabulary(f) {}
  std::optional<i32> read_id(const GgufFile& f, std::string_view key) const;
  void collect_specials();
  u32 special_at(std::string_view text, std::size_t at) const;
};

std::optional<i32> Tokenizer::Impl::read_id(const GgufFile& f, std::string_view key) const {
  const std::optional<u64> id = f.get_uint(key);
  if (!id) return std::nullopt;
  if (*id >= vocabulary.size())
    fail(f, key, fmt::format("token {} is not among the {} tokens", *id, vocabulary.size()), "the file is damaged");
  return static_cast<i32>(*id);
}

void Tokenizer::Impl::collect_specials() {
  for (u32 id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    if (std::find(std::begin(kTurnEnds), std::end(kTurnEnds), text) != std::end(kTurnEnds))
      ends.push_back(static_cast<i32>(id));
    if (!vocabulary.special(id) || text.empty() || text.size() > kMaxSpecial) continue;
    specials.push_back(id);
    special_first[static_cast<unsigned char>(text[0])] = true;
  }
  std::sort(specials.begin(), specials.end(), [&](u32 a, u32 b) {
    const int by_text = vocabulary.text(a).compare(vocabulary.text(b));
    return by_text != 0 ? by_text < 0 : a < b;
  });
  specials.shrink_to_fit();
  if (eos && std::find(ends.begin(), ends.end(), *eos) == ends.end()) ends.push_back(*eos);
}

/// The longest special token at `at`, or kNone. Narrows the sorted list a byte at a time, so that many specials cost no
/// more.
u32 Tokenizer::Impl::special_at(std::string_view text, std::size_t at) const {
  u32 best = Vocabulary::kNone;
  auto lo = specials.begin(), hi = specials.end();
  for (std::size_t depth = 0; lo != hi && at + depth < text.size(); ++depth) {
    const auto byte_at = [&](u32 id) { return static_cast<unsigned char>(vocabulary.text(id)[depth]); };
    const auto wanted = static_cast<unsigned char>(text[at + depth]);
    lo = std::lower_bound(lo, hi, wanted, [&](u32 id, unsigned char b) { return byte_at(id) < b; });
    hi = std::upper_bound(lo, hi, wanted, [&](unsigned char b, u32 id) { return b < byte_at(id); });
    // Those that end here sort first; of two with one text the smaller id counts.
    if (lo != hi && vocabulary.text(*lo).size() == depth + 1) best = *lo;
    while (lo != hi && vocabulary.text(*lo).size() == depth + 1) ++lo;
  }
  return best;
}

Tokenizer::Tokenizer(const GgufFile& file) {
  std::string pre;
  const Splitter splitter = read_splitter(file, pre);
  impl_ = std::make_unique<Impl>(file);
  impl_->splitter = splitter;
  impl_->pre = std::move(pre);
  impl_->bos = impl_->read_id(file, "tokenizer.ggml.bos_token_id");
  impl_->eos = impl_->read_id(file, "tokenizer.ggml.eos_token_id");
  impl_->add_bos = impl_->bos && file.get_bool("tokenizer.ggml.add_bos_token").value_or(false);
  impl_->collect_specials();
}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<i32> Tokenizer::encode(std::string_view text, bool special) const {
  std::vector<i32> ids;
  WordMerger merger(impl_->vocabulary);
  const auto plain = [&](std::string_view part) {
    split(impl_->splitter, part, [&](std::string_view word) { merger.encode(word, ids); });
  };
  std::size_t begin = 0;
  for (std::size_t at = 0; special && at < text.size();) {
    const bool maybe = impl_->special_first[static_cast<unsigned char>(text[at])];
    const u32 id = maybe ? impl_->special_at(text, at) : Vocabulary::kNone;
    if (id == Vocabulary::kNone) {
      ++at;
      continue;
    }
    plain(text.substr(begin, at - begin));
    ids.push_back(static_cast<i32>(id));
    begin = at += impl_->vocabulary.text(id).size();
  }
  plain(text.substr(begin));
  return ids;
}

std::string Tokenizer::piece(i32 id, bool special) const {
  if (id < 0 || id >= size())
    throw Error(ErrorKind::usage, fmt::format("token {} does not exist: there are {}", id, size()));
  const auto token = static_cast<u32>(id);
  const TokenType type = impl_->vocabulary.type(token);
  if (!special && (type == TokenType::control || type == TokenType::unknown)) return {};
  return std::string(impl_->vocabulary.text(token));
}

std::string Tokenizer::decode(const std::vector<i32>& ids, bool special) const {
  std::string out;
  for (i32 id : ids) out += piece(id, special);
  return out;
}

i64 Tokenizer::size() const { return impl_->vocabulary.size(); }
std::optional<i32> Tokenizer::bos() const { return impl_->bos; }
std::optional<i32> Tokenizer::eos() const { return impl_->eos; }
bool Tokenizer::add_bos() const { return impl_->add_bos; }
const std::string& Tokenizer::pre() const { return impl_->pre; }
bool Tokenizer::is_end_of_text(i32 id) const {
  return std::find(impl_->ends.begin(), impl_->ends.end(), id) != impl_->ends.end();
}
u64 Tokenizer::memory_bytes() const {
  return sizeof(Impl) + impl_->vocabulary.memory_bytes() + impl_->specials.capacity() * sizeof(u32) +
         impl_->ends.capacity() * sizeof(i32);
}

}  // namespace terrace::io
