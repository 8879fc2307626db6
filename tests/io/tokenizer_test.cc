#include "terrace/io/tokenizer.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <sstream>

#include "support/gguf_writer.h"
#include "terrace/core/error.h"
#include "terrace/io/splitter.h"
#include "terrace/io/unicode.h"

namespace terrace::io {
namespace {

const std::string kData = std::string(TERRACE_TEST_DATA) + "/tokenizer/";

std::string slurp(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  EXPECT_TRUE(f) << path;
  return {std::istreambuf_iterator<char>(f), {}};
}

std::vector<std::string> read_texts(const std::string& path) {
  const std::string mark = "\n__ggml_vocab_test__\n", all = slurp(path);
  std::vector<std::string> out;
  for (std::size_t at = 0, end = 0; (end = all.find(mark, at)) != std::string::npos; at = end + mark.size())
    out.push_back(all.substr(at, end - at));
  return out;
}

std::vector<std::vector<i32>> read_ids(const std::string& path) {
  std::vector<std::vector<i32>> out;
  std::istringstream lines(slurp(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    out.emplace_back(std::istream_iterator<i32>(numbers), std::istream_iterator<i32>());
  }
  return out;
}

void compare(const Tokenizer& t, const std::string& inp, const std::string& out, bool special, std::size_t least) {
  const auto texts = read_texts(inp);
  const auto ids = read_ids(out);
  ASSERT_EQ(texts.size(), ids.size());
  ASSERT_GE(texts.size(), least);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(t.encode(texts[i], special), ids[i]) << "text " << i << ": '" << texts[i] << "'";
  }
}

Tokenizer open(const std::string& name) { return Tokenizer(GgufFile(kData + name)); }

TEST(Tokenizer, Gpt2AsLlamaCpp) {
  compare(open("ggml-vocab-gpt-2.gguf"), kData + "ggml-vocab-gpt-2.gguf.inp", kData + "ggml-vocab-gpt-2.gguf.out",
          false, 46);
}

TEST(Tokenizer, SmolLmAsLlamaCpp) {
  const Tokenizer t = open("smollm-vocab.gguf");
  compare(t, kData + "smollm.inp", kData + "smollm-special.out", true, 100);
  compare(t, kData + "smollm.inp", kData + "smollm-plain.out", false, 100);
}

TEST(Tokenizer, DecodeGivesTheTextBack) {
  // GPT-2 has a token for every byte, SmolLM has not.
  const Tokenizer gpt2 = open("ggml-vocab-gpt-2.gguf"), smollm = open("smollm-vocab.gguf");
  for (const std::string& text : read_texts(kData + "smollm.inp")) {
    EXPECT_EQ(gpt2.decode(gpt2.encode(text, false), true), text);
    std::string kept = text;
    std::erase(kept, '\x1D');  // has no token there: left out, as other tokenizers do
    EXPECT_EQ(smollm.decode(smollm.encode(text, true), true), kept);
  }
  std::mt19937 random(7);
  for (int n = 0; n < 200; ++n) {  // any bytes, mostly no UTF-8
    std::string text(random() % 40, '\0');
    for (char& c : text) c = static_cast<char>(random() % 3 ? random() : "\xE2\x82 a1"[random() % 5]);
    EXPECT_EQ(gpt2.decode(gpt2.encode(text, true), true), text);
  }
}

TEST(Tokenizer, SpecialTokensAndEnds) {
  const Tokenizer t = open("smollm-vocab.gguf");
  EXPECT_EQ(t.size(), 49152);
  EXPECT_EQ(t.pre(), "smollm");
  EXPECT_EQ(t.bos(), 1);
  EXPECT_EQ(t.eos(), 2);
  EXPECT_FALSE(t.add_bos());
  EXPECT_TRUE(t.is_end_of_text(2));
  EXPECT_TRUE(t.is_end_of_text(0));
  EXPECT_FALSE(t.is_end_of_text(1));
  EXPECT_FALSE(t.is_end_of_text(-1));
  EXPECT_EQ(t.piece(1), "");
  EXPECT_EQ(t.piece(1, true), "<|im_start|>");
  EXPECT_EQ(t.encode("<|im_start|>", true), std::vector<i32>{1});
  EXPECT_GT(t.encode("<|im_start|>", false).size(), 1u);
  EXPECT_TRUE(t.encode("", true).empty());
  EXPECT_THROW(t.piece(-1), Error);
  EXPECT_THROW(t.piece(49152), Error);
}

TEST(Tokenizer, SmallAndBuiltInLittleMemory) {
  const GgufFile file(kData + "smollm-vocab.gguf");
  const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  const Tokenizer t(file);
  const std::size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  EXPECT_LE(t.memory_bytes(), u64{3} << 20);
  EXPECT_GE(t.memory_bytes(), u64{1} << 20);  // it does hold 49152 texts and 48900 merges
  // What it says is what it holds (sanitizers replace malloc and count nothing).
  if (after != before) {
    EXPECT_NEAR(static_cast<double>(after - before), static_cast<double>(t.memory_bytes()), 64 << 10);
  }
}

TEST(Tokenizer, OneLongWordIsNotQuadratic) {
  const Tokenizer t = open("smollm-vocab.gguf");
  std::string word;
  std::mt19937 random(1);
  while (word.size() < (1 << 20)) word += static_cast<char>('a' + random() % 26);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<i32> ids = t.encode(word, true);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));  // quadratic takes hours
  EXPECT_EQ(t.decode(ids), word);
}

// A vocabulary of a few tokens, with one thing wrong or odd at a time.
struct Small {
  std::string model = "gpt2", pre = "gpt-2";
  std::vector<std::string> tokens = {"a", "b", "c", "ab", "abc", "<s>", "<s>x", "bc"};
  std::vector<std::int32_t> types = {1, 1, 1, 1, 1, 3, 4, 1};
  std::vector<std::string> merges = {"a b", "b c", "ab c"};
  std::optional<std::uint32_t> eos = 5;
  Tokenizer make() const {
    test::GgufWriter w;
    if (!model.empty()) w.kv_string("tokenizer.ggml.model", model);
    if (!pre.empty()) w.kv_string("tokenizer.ggml.pre", pre);
    if (!tokens.empty()) w.kv_strings("tokenizer.ggml.tokens", tokens);
    if (!types.empty()) w.kv_i32s("tokenizer.ggml.token_type", types);
    if (!merges.empty()) w.kv_strings("tokenizer.ggml.merges", merges);
    if (eos) w.kv_u32("tokenizer.ggml.eos_token_id", *eos);
    const std::string path = testing::TempDir() + "small_vocab.gguf";
    w.save(path);
    return Tokenizer(GgufFile(path));
  }
  std::string error() const {
    try {
      make();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      return e.what();
    }
    return "no error";
  }
};

TEST(Tokenizer, MergesByRankThenLeft) {
  const Tokenizer t = Small{}.make();
  using Ids = std::vector<i32>;
  EXPECT_EQ(t.encode("abc", false), (Ids{4}));
  EXPECT_EQ(t.encode("bcab", false), (Ids{7, 3}));
  EXPECT_EQ(t.encode("abcb", false), (Ids{4, 1}));
  // Longest special first; control and user-defined ones are text without `special`; "s", "<" have no token.
  EXPECT_EQ(t.encode("a<s>xb<s>c", true), (Ids{0, 6, 1, 5, 2}));
  EXPECT_EQ(t.encode("<s>", false), (Ids{}));
  EXPECT_EQ(t.decode({6, 5, 0}), "<s>xa");
  EXPECT_TRUE(t.is_end_of_text(5));
}

TEST(Tokenizer, RefusesByName) {
  const auto expect = [](const Small& s, const std::string& part) {
    const std::string e = s.error();
    EXPECT_NE(e.find(part), std::string::npos) << e;
  };
  Small s;
  s.model = "llama";
  expect(s, "tokenizer 'llama' is not supported");
  s = {}, s.model = "";
  expect(s, "key 'tokenizer.ggml.model': the file has no tokenizer");
  s = {}, s.pre = "qwen2";
  expect(s, "pre-tokenizer 'qwen2' is not supported");
  s = {}, s.pre = "";
  expect(s, "pre-tokenizer '' is not supported");
  s = {}, s.tokens = {};
  expect(s, "key 'tokenizer.ggml.tokens': the array is missing");
  s = {}, s.merges = {};
  expect(s, "key 'tokenizer.ggml.merges': the array is missing");
  s = {}, s.types.pop_back();
  expect(s, "has 7 elements, tokenizer.ggml.tokens has 8");
  s = {}, s.types[3] = 9;
  expect(s, "key 'tokenizer.ggml.token_type': element 3 is 9");
  s = {}, s.merges[1] = "b x";
  expect(s, "key 'tokenizer.ggml.merges': element 1 names a token that does not exist");
  s = {}, s.merges[2] = "c a";
  expect(s, "element 2 names a token that does not exist");
  s = {}, s.merges[0] = "ab";
  expect(s, "element 0 is not two tokens");
  s = {}, s.merges[0] = "";
  expect(s, "element 0 is not two tokens");
  s = {}, s.eos = 8;
  expect(s, "key 'tokenizer.ggml.eos_token_id': token 8 is not among the 8 tokens");
}

TEST(Splitter, Words) {
  const auto words = [](Splitter s, std::string_view text) {
    std::vector<std::string> out;
    split(s, text, [&](std::string_view w) { out.emplace_back(w); });
    return out;
  };
  using W = std::vector<std::string>;
  EXPECT_EQ(words(Splitter::gpt2, "I'll go  12 'x"), (W{"I", "'ll", " go", " ", " 12", " '", "x"}));
  EXPECT_EQ(words(Splitter::smollm, "go  12!"), (W{"go", "  ", "1", "2", "!"}));
  EXPECT_EQ(words(Splitter::gpt2, "\n\n a \n"), (W{"\n\n", " a", " \n"}));
  EXPECT_EQ(words(Splitter::gpt2,
                  "\xff\xfe"
                  "a\xc3"),
            (W{"\xff\xfe", "a", "\xc3"}));
  EXPECT_TRUE(words(Splitter::smollm, "").empty());
}

TEST(Unicode, ClassesAndUtf8) {
  EXPECT_EQ(class_of(U'a'), CharClass::letter);
  EXPECT_EQ(class_of(U'ª'), CharClass::letter);
  EXPECT_EQ(class_of(U'½'), CharClass::number);
  EXPECT_EQ(class_of(0x3000), CharClass::space);
  EXPECT_EQ(class_of(0x1C), CharClass::other);  // a space to isspace() of some languages, not to Unicode
  EXPECT_EQ(class_of(0x301), CharClass::other);
  EXPECT_EQ(class_of(kInvalid), CharClass::other);
  EXPECT_EQ(decode_utf8("\xF0\x9F\x9A\x80", 0).value, U'🚀');
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5", "\xE2\x82", "\xC3("}) {
    EXPECT_EQ(decode_utf8(bad, 0).value, kInvalid) << bad;
    EXPECT_EQ(decode_utf8(bad, 0).bytes, 1u);
  }
}

TEST(Chat, SmolLmTemplateWithItsSystemMessage) {
  const auto text = GgufFile(kData + "smollm-vocab.gguf").get_string("tokenizer.chat_template");
  const std::string system =
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
  EXPECT_EQ(render_chat(text, {{"user", "Hi"}}), system + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render_chat(text, {{"system", "Be brief"}, {"user", "Hi"}}),
            "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, OtherTemplates) {
  const std::string plain = "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}";
  EXPECT_EQ(render_chat(plain, {{"user", "x"}}), "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n");
  const std::string computed = "{{ '<|im_start|>system\\n' + text + '<|im_end|>\\n' }}" + plain;
  EXPECT_EQ(render_chat(computed, {}), "<|im_start|>assistant\n");
  const std::string escaped = computed + R"({{ '<|im_start|>system\nYou\'re "it"<|im_end|>\n' }})";
  EXPECT_EQ(render_chat(escaped, {}), "<|im_start|>system\nYou're \"it\"<|im_end|>\n<|im_start|>assistant\n");
  const auto refused = [](const std::optional<std::string>& t) {
    try {
      render_chat(t, {{"user", "x"}});
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(refused("<|start_header_id|>").find("looks like Llama 3"), std::string::npos);
  EXPECT_NE(refused("[INST]").find("looks like Llama 2 or Mistral"), std::string::npos);
  EXPECT_NE(refused("nothing").find("unknown family"), std::string::npos);
  EXPECT_NE(refused(std::nullopt).find("no chat template"), std::string::npos);
}

}  // namespace
}  // namespace terrace::io
