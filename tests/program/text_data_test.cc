// Texts as windows of tokens: bytes and characters as they lie, tokens from a cache that is made once.
#include "terrace/program/text_data.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "support/tool.h"
#include "terrace/core/error.h"

namespace terrace {
namespace {

const std::string kVocabulary = std::string(TERRACE_TEST_DATA) + "/tokenizer/smollm-vocab.gguf";

class Text : public ::testing::Test {
 protected:
  std::string write(const std::string& text, const char* name = "text") const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  TokenCache cache(const std::string& text) const {
    return encoded(text, io::GgufFile(kVocabulary), folder_ / "tokens");
  }
  std::string message(const std::function<void()>& f) const {
    try {
      f();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      return e.where() + ": " + e.message();
    }
    return "no error";
  }
  testing::TemporaryFolder folder_;
};

std::string random_letters(std::size_t n, unsigned seed) {
  std::mt19937 rng(seed);
  std::string s(n, ' ');
  for (char& c : s) c = static_cast<char>('a' + rng() % 20);
  return s;
}

/// Each row's tokens stand in the text, one after the other, and the targets one further; places differ.
void expect_windows(const TextData& data, const std::vector<i32>& all, i64 length, i64 end) {
  std::vector<i32> ids(static_cast<std::size_t>(4 * length)), targets(ids.size()), again(ids.size()),
      unused(ids.size());
  for (i64 step = 0; step < 20; ++step) {
    data.draw(7, step, 0, ids, targets);
    data.draw(7, step, 0, again, unused);
    EXPECT_EQ(ids, again);
    data.draw(7, step, 1, again, unused);
    EXPECT_NE(ids, again);
    for (std::size_t row = 0; row < ids.size(); row += static_cast<std::size_t>(length)) {
      const auto at = std::search(all.begin(), all.end(), ids.begin() + row, ids.begin() + row + length);
      ASSERT_LE(at - all.begin() + length, end) << "trained on what is for validation";
      EXPECT_TRUE(std::equal(targets.begin() + row, targets.begin() + row + length, at + 1));
    }
  }
}

TEST_F(Text, WindowsAreThoseOfTheFileWhetherItIsHeldOrNot) {
  for (const std::size_t n : {std::size_t{3000}, std::size_t{5} << 20}) {
    const std::string text = random_letters(n, 1), path = write(text);
    const TextData data(path, true, 0.25, 37);
    ASSERT_EQ(data.vocabulary(), 20);
    EXPECT_EQ(data.letters(), "abcdefghijklmnopqrst");
    std::vector<i32> all;
    for (char c : text) all.push_back(c - 'a');
    const auto split = static_cast<i64>(n / 4 * 3);
    expect_windows(data, all, 37, split);
    EXPECT_EQ(data.memory_bytes().count < (1 << 20), true) << "of 5 MiB only a window is held";
    std::vector<i32> ids(37), targets(37);
    for (const i64 i : {i64{0}, data.validation_windows() - 1}) {
      data.validation(i, ids, targets);
      EXPECT_TRUE(std::equal(ids.begin(), ids.end(), all.begin() + split + 37 * i));
      EXPECT_TRUE(std::equal(targets.begin(), targets.end(), all.begin() + split + 37 * i + 1));
    }
  }
}

TEST_F(Text, BytesAreTheirOwnTokens) {
  const TextData data(write(random_letters(500, 2)), false, 0, 16);
  EXPECT_EQ(data.vocabulary(), 256);
  std::vector<i32> ids(16), targets(16);
  data.draw(1, 0, 0, ids, targets);
  for (i32 id : ids) EXPECT_TRUE(id >= 'a' && id < 'a' + 20);
}

TEST_F(Text, AChangedFileIsNoticed) {
  const std::string path = write(random_letters(5 << 20, 3));
  const TextData data(path, true, 0, 32);
  write(std::string(5 << 20, '!'));
  std::vector<i32> ids(32), targets(32);
  EXPECT_NE(message([&] { data.draw(1, 0, 0, ids, targets); }).find("was changed"), std::string::npos);
}

TEST_F(Text, TokensAreTheTokenizers) {
  const std::string text =
      "Rice grew on the steps.\n\nThe year was 1984,   and it's raining. \xe6\xb0\xb4\xe7\xa8\xb2\n";
  std::string many;
  for (int i = 0; i < 30000; ++i) many += text;  // several pieces
  const TokenCache tokens = cache(write(many));
  const io::GgufFile file(kVocabulary);
  const std::vector<i32> want = io::Tokenizer(file).encode(many, false);
  ASSERT_EQ(tokens.count, static_cast<i64>(want.size()));
  EXPECT_EQ(tokens.width, 2u);
  EXPECT_EQ(tokens.vocabulary, 49152);
  const TextData data(tokens, 0.5, 64);
  std::vector<i32> ids(64), targets(64);
  const auto split = static_cast<std::ptrdiff_t>(want.size() / 2);
  for (i64 i = 0; i < data.validation_windows(); i += 97) {
    data.validation(i, ids, targets);
    ASSERT_TRUE(std::equal(ids.begin(), ids.end(), want.begin() + split + 64 * i)) << i;
    ASSERT_TRUE(std::equal(targets.begin(), targets.end(), want.begin() + split + 64 * i + 1)) << i;
  }
}

/// Wherever a text may be cut, its parts have the tokens of the whole.
TEST_F(Text, CutsKeepTheTokens) {
  const io::GgufFile file(kVocabulary), other(std::string(TERRACE_TEST_DATA) + "/tokenizer/ggml-vocab-gpt-2.gguf");
  const std::vector<std::string> parts = {" ",   "\n",   "\n\n", "  ", "\t", "a",      "it's",   "Rice",   "12",
                                          ".\n", "\r\n", "...",  "B ", " C", "\u00e9", "\u3000", "\u6c34", "\u00a0"};
  std::mt19937 rng(5);
  int cuts = 0;
  for (const io::GgufFile* f : {&file, &other}) {
    const io::Tokenizer tokenizer(*f);
    for (int i = 0; i < 3000; ++i) {
      std::string text;
      for (int k = 0; k < 12; ++k) text += parts[rng() % parts.size()];
      const std::size_t cut = last_cut(text);
      if (cut == 0) continue;
      ++cuts;
      ASSERT_LT(cut, text.size());
      std::vector<i32> left = tokenizer.encode(text.substr(0, cut), false);
      const std::vector<i32> right = tokenizer.encode(text.substr(cut), false);
      left.insert(left.end(), right.begin(), right.end());
      ASSERT_EQ(left, tokenizer.encode(text, false)) << "cut at " << cut << " of '" << text << "'";
    }
  }
  EXPECT_GT(cuts, 2000);
}

TEST_F(Text, TheCacheIsMadeOnceForEachTextAndTokenizer) {
  const std::string text = write("Rice grew on the steps. Rice grew on the steps of the hill.\n");
  const TokenCache first = cache(text);
  const std::string bytes = testing::slurp(first.path);
  const auto made = std::filesystem::last_write_time(first.path) - std::chrono::hours(1);
  std::filesystem::last_write_time(first.path, made);
  EXPECT_EQ(cache(text).count, first.count);
  EXPECT_EQ(std::filesystem::last_write_time(first.path), made) << "it was there";

  for (const std::size_t at : {std::size_t{9}, std::size_t{17}, std::size_t{100}, bytes.size() - 1}) {
    std::string altered = bytes;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    write(altered, "tokens");
    EXPECT_EQ(cache(text).count, first.count);
    EXPECT_EQ(testing::slurp(first.path), bytes) << "altered at " << at;
  }
  write(bytes.substr(0, 100), "tokens");
  cache(text);
  EXPECT_EQ(testing::slurp(first.path), bytes);
  const io::GgufFile gpt2(std::string(TERRACE_TEST_DATA) + "/tokenizer/ggml-vocab-gpt-2.gguf");
  EXPECT_EQ(encoded(text, gpt2, first.path).vocabulary, 50257);
  write("Another text.\n");
  EXPECT_LT(cache(text).count, first.count);
}

TEST_F(Text, SaysWhatIsTooShort) {
  EXPECT_NE(message([&] { cache(write("")); }).find("is empty"), std::string::npos);
  EXPECT_NE(message([&] { TextData(cache(write("Rice grew.")), 0.1, 64); }).find("too few for windows of 64"),
            std::string::npos);
  EXPECT_NE(message([&] { TextData(write("Rice grew."), true, 0.1, 64); }).find("too few"), std::string::npos);
  EXPECT_NE(message([&] { cache(folder_ / "none"); }).find("none"), std::string::npos);
}

}  // namespace
}  // namespace terrace
