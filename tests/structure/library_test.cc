// What a program that embeds the library relies on: it holds no state of its own, prints nothing, ends nothing and
// reads no environment variable.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace terrace {
namespace {

namespace fs = std::filesystem;

/// Whether `line` has `word` as a word of its own, before any comment.
bool has_word(std::string line, const std::string& word) {
  line.resize(std::min(line.find("//"), line.size()));
  const auto part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (std::size_t at = line.find(word); at != line.npos; at = line.find(word, at + 1))
    if ((at == 0 || !part(line[at - 1])) && (at + word.size() == line.size() || !part(line[at + word.size()])))
      return true;
  return false;
}

/// Lines below terrace/ with one of the words; those of the tool (cli/), or all others.
std::vector<std::string> lines_with(const std::vector<std::string>& words, bool tool) {
  std::vector<std::string> found;
  const fs::path root = fs::path(TERRACE_SOURCE_DIR) / "terrace";
  for (const auto& e : fs::recursive_directory_iterator(root)) {
    const std::string file = fs::relative(e.path(), root).generic_string();
    if ((!file.ends_with(".cc") && !file.ends_with(".h")) || file.starts_with("cli/") != tool) continue;
    std::ifstream in(e.path());
    for (std::string line; std::getline(in, line);)
      for (const std::string& w : words)
        if (has_word(line, w)) found.push_back(file + ": " + line);
  }
  return found;
}

const std::vector<std::string> kPrints = {"printf", "fprintf", "puts", "fputs", "perror",
                                          "cout",   "cerr",    "clog", "vprint"};
const std::vector<std::string> kEnds = {"abort", "exit", "_exit", "_Exit", "quick_exit", "terminate", "std::signal"};
const std::vector<std::string> kReads = {"getenv", "secure_getenv", "setlocale"};

const std::vector<std::string> kLocale = {"strtod", "strtof", "stod",    "stof",   "atof",     "sscanf",
                                          "strtol", "stoi",   "strtoul", "stoull", "iswalpha", "isalpha"};

/// By from_chars and fmt, which know no locale: a decimal comma must not change what a file says.
TEST(Library, NumbersAreReadWithoutALocale) {
  for (const bool tool : {false, true})
    for (const std::string& line : lines_with(kLocale, tool)) ADD_FAILURE() << line;
}

TEST(Library, PrintsNothingEndsNothingAndReadsNoEnvironment) {
  for (const auto* words : {&kPrints, &kEnds, &kReads})
    for (const std::string& line : lines_with(*words, false)) ADD_FAILURE() << line;
  EXPECT_FALSE(lines_with(kPrints, true).empty());  // the tool does
  EXPECT_FALSE(lines_with(kEnds, true).empty());
  EXPECT_FALSE(lines_with(kReads, true).empty());
}

/// Zero-initialised variables of the built libraries, and guards of local statics: there is no other writable state.
TEST(Library, HoldsNoState) {
  const fs::path folder = fs::path(TERRACE_BINARY_DIR) / "libraries";
  std::size_t libraries = 0, symbols = 0;
  for (const auto& e : fs::directory_iterator(folder)) {
    if (e.path().extension() != ".a") continue;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(
        ::popen(("nm -C '" + e.path().string() + "' 2>/dev/null").c_str(), "r"), ::pclose);
    ASSERT_NE(pipe, nullptr);
    std::string line;
    for (int c = std::fgetc(pipe.get()); c != EOF; c = std::fgetc(pipe.get())) {
      if (c != '\n') {
        line += static_cast<char>(c);
        continue;
      }
      ++symbols;
      for (const char* kind : {" b ", " B ", " C "})
        if (const std::size_t at = line.find(kind); at != line.npos && line.find("terrace::", at) != line.npos)
          ADD_FAILURE() << e.path().filename() << ": " << line;
      line.clear();
    }
    ++libraries;
  }
  EXPECT_GT(libraries, 10u);
  if (symbols == 0) GTEST_SKIP() << "no nm here";
}

}  // namespace
}  // namespace terrace
