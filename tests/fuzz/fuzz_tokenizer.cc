// A well-formed GGUF file whose tokenizer is made of the input: changed bytes of a file alone rarely get past its
// counts and lengths. What the bytes mean is for this target only, and may change with it (the corpus then is less apt,
// never wrong).
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/gguf_subject.h"
#include "support/gguf_writer.h"

namespace {

using terrace::test::ByteSink;
using terrace::test::GgufWriter;

/// The input, read from its front; zeros after its end.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> s) : s_(s) {}
  bool empty() const { return s_.empty(); }
  std::uint8_t byte() {
    if (s_.empty()) return 0;
    const std::uint8_t b = s_.front();
    s_ = s_.subspan(1);
    return b;
  }
  std::uint32_t word() {
    std::uint32_t w = 0;
    for (int i = 0; i < 4; ++i) w |= std::uint32_t{byte()} << 8 * i;
    return w;
  }
  std::string text(std::size_t n) {
    n = std::min(n, s_.size());
    std::string t(reinterpret_cast<const char*>(s_.data()), n);
    s_ = s_.subspan(n);
    return t;
  }
  std::string text() { return text(byte()); }
  std::string rest() { return text(s_.size()); }

 private:
  std::span<const std::uint8_t> s_;
};

/// The character that stands for a byte in GPT-2's written form (encoder.py, bytes_to_unicode).
std::string written_byte(int b) {
  static const std::vector<std::string> table = [] {
    std::vector<std::string> t(256);
    int next = 256;
    for (int i = 0; i < 256; ++i) {
      const bool itself = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
      const int c = itself ? i : next++;
      if (c < 0x80)
        t[static_cast<std::size_t>(i)] = std::string(1, static_cast<char>(c));
      else
        t[static_cast<std::size_t>(i)] = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    }
    return t;
  }();
  return table[static_cast<std::size_t>(b)];
}

constexpr std::string_view kSpecials[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "</s>",
                                          "<unk>",        "<0x41>",     "<0x-1>"};
constexpr std::string_view kTemplates[] = {
    "{{'<|im_start|>system\nBe.<|im_end|>'}}{{'<|im_start|>' + m + '<|im_end|>'}}", "<|im_start|><|im_end|>",
    "[INST]{{m}}"};

// What chat.cc looks for, to be put together in any order.
constexpr std::string_view kPieces[] = {
    "<|im_start|>system", "\\n", "\n", "<|im_end|>", "'", "\"", "{", "}", "\\", "Be"};

std::string read_template(Reader& in) {
  const std::uint8_t which = in.byte();
  if (which % 4 < 2) return std::string(kTemplates[which % std::size(kTemplates)]);
  if (which % 4 == 3) return in.text(in.word() % 4096);
  std::string t = "<|im_start|>";
  for (unsigned n = in.byte() % 32u; n > 0; --n) t += kPieces[in.byte() % std::size(kPieces)];
  return t + "<|im_end|>";
}

struct Parts {
  std::vector<std::string> tokens, merges;
  std::vector<std::uint8_t> types;
};

Parts read_parts(Reader& in) {
  Parts p;
  const auto add = [&](std::string token, std::uint8_t type) {
    p.tokens.push_back(std::move(token));
    p.types.push_back(type);
  };
  if (in.byte() % 4 != 0)
    for (int b = 0; b < 256; ++b) add(written_byte(b), 1);
  // Merges bring the tokens that they need, so that long words get to them; some name anything.
  for (std::uint32_t n = in.byte() % 64u; n > 0 && !in.empty(); --n) {
    const std::uint8_t kind = in.byte();
    switch (kind % 8) {
      case 0: add(in.text(), in.byte()); break;
      case 1: add(std::string(kSpecials[in.byte() % std::size(kSpecials)]), 3); break;
      case 2: p.merges.push_back(in.text()); break;
      case 3:
        add(std::string(in.byte(), static_cast<char>(in.byte())), static_cast<std::uint8_t>(in.byte() % 7));
        break;
      default: {
        if (p.tokens.empty()) break;
        const std::string left = p.tokens[in.word() % p.tokens.size()], right = p.tokens[in.word() % p.tokens.size()];
        if (left.size() + right.size() > 2048) break;
        p.merges.push_back(left + " " + right);
        if (kind % 8 > 4) add(left + right, static_cast<std::uint8_t>(kind >> 3 & 3));
      }
    }
  }
  return p;
}

/// One of the usual ones, mostly; or any.
std::string choose(Reader& in, std::string_view usual, std::string_view other) {
  const std::uint8_t b = in.byte();
  return b % 8 == 7 ? in.text() : std::string(b % 2 ? other : usual);
}

void put_id(GgufWriter& w, Reader& in, std::string_view key) {
  switch (in.byte() % 6) {
    case 0: break;
    case 1: w.kv_u32(key, in.word()); break;
    case 2: w.kv_i32(key, static_cast<std::int32_t>(in.word())); break;
    case 3: w.kv_u64(key, std::uint64_t{in.word()} << 32 | in.word()); break;
    case 4: w.kv_u32(key, in.byte()); break;
    default: w.kv_string(key, in.text());
  }
}

void put_types(GgufWriter& w, Reader& in, std::vector<std::uint8_t> types) {
  constexpr std::string_view key = "tokenizer.ggml.token_type";
  if (const std::uint8_t cut = in.byte(); cut % 16 == 15) types.resize(cut);
  const std::uint8_t how = in.byte();
  if (how % 8 == 0) return;
  ByteSink s;
  if (how % 8 == 1) {  // as bytes
    s.put<std::uint32_t>(0).put<std::uint64_t>(types.size()).raw(std::as_bytes(std::span(types)));
    w.kv_raw(key, 9, s.bytes());
  } else if (how % 8 == 2) {  // as doubles, one of them anything
    s.put<std::uint32_t>(12).put<std::uint64_t>(types.size());
    for (const std::uint8_t t : types) s.put<double>(t);
    w.kv_raw(key, 9, s.bytes());
  } else {
    w.kv_i32s(key, {types.begin(), types.end()});
  }
}

std::vector<std::byte> make_file(Reader& in) {
  GgufWriter w;
  const std::uint8_t leave_out = in.byte();  // which key, mostly none
  if (leave_out != 1) w.kv_string("tokenizer.ggml.model", choose(in, "gpt2", "gpt2"));
  if (leave_out != 2) w.kv_string("tokenizer.ggml.pre", choose(in, "smollm", "gpt-2"));
  Parts p = read_parts(in);
  if (leave_out != 3) w.kv_strings("tokenizer.ggml.tokens", p.tokens);
  put_types(w, in, p.types);
  if (leave_out != 4) w.kv_strings("tokenizer.ggml.merges", p.merges);
  put_id(w, in, "tokenizer.ggml.bos_token_id");
  put_id(w, in, "tokenizer.ggml.eos_token_id");
  if (leave_out % 8 == 5) w.kv_bool("tokenizer.ggml.add_bos_token", true);
  if (leave_out % 8 == 6) put_id(w, in, "tokenizer.ggml.add_bos_token");
  w.kv_string("tokenizer.chat_template", read_template(in));
  if (leave_out == 7) {
    const std::string key = in.text(), value = in.text();
    w.kv_raw(key, in.byte(), std::as_bytes(std::span(value)));
  }
  return w.bytes();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in({data, size});
  const std::vector<std::byte> file = make_file(in);
  terrace::fuzz::use_gguf(file, in.rest());
  return 0;
}
