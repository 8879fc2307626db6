// The rules of docs/architecture.md that can be read off the source: includes run one way, files stay short, and every
// folder says what it holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace terrace {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = TERRACE_SOURCE_DIR;
constexpr std::size_t kMostLines = 420, kMostHeaderLines = 180, kMostTemplateLines = 280;
// Kernels are templates, compiled once for each instruction set: what stands in these headers is source.
const std::string kTemplates = "terrace/kernels/cpu/";
// Constants that a generator or a paper wrote.
const std::set<std::string> kTables = {"terrace/io/unicode_tables.cc"};
// What any folder may use of kernels: how a kernel is called and found, never a kernel.
const std::string kKernelHeader = "terrace/kernels/kernel.h";

const std::set<std::string> kAll = {"core",    "graph",  "ops", "passes", "machine", "plan", "planner",
                                    "kernels", "engine", "run", "sim",    "nn",      "io",   "program"};
/// What each folder may include besides itself; "kernel.h" is the one header of kernels.
const std::map<std::string, std::set<std::string>> kMay = {
    {"core", {}},
    {"graph", {"core"}},
    {"ops", {"core", "graph"}},
    {"passes", {"core", "graph", "ops"}},
    {"machine", {"core"}},
    {"kernels", {"core"}},
    {"plan", {"core", "graph", "machine"}},
    {"planner", {"core", "graph", "machine", "plan", "kernel.h"}},
    {"engine", {"core", "graph", "machine", "plan", "kernel.h"}},
    {"run", {"core", "graph", "machine", "plan", "engine", "kernel.h"}},
    {"sim", {"core", "graph", "machine", "plan", "engine"}},
    {"nn", {"core", "graph", "ops"}},
    {"io", {"core"}},
    {"program", kAll},
    {"cli", kAll},
};

/// The layer of "terrace/FOLDER/..." (the planner is one of its own); nothing for other paths.
std::optional<std::string> layer(const std::string& path) {
  if (!path.starts_with("terrace/")) return std::nullopt;
  if (path.starts_with("terrace/plan/planner/")) return "planner";
  return path.substr(8, path.find('/', 8) - 8);
}

/// Whether a file of layer `from` may include `header`.
bool allowed(const std::string& from, const std::string& header) {
  const auto to = layer(header);
  if (!to || *to == from) return true;
  const auto may = kMay.find(from);
  if (may == kMay.end()) return false;
  return may->second.contains(*to) || (header == kKernelHeader && may->second.contains("kernel.h"));
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The header between the quotes of an include; nothing for other lines.
std::optional<std::string> included(const std::string& line) {
  const std::string start = "#include \"";
  if (!line.starts_with(start)) return std::nullopt;
  return line.substr(start.size(), line.find('"', start.size()) - start.size());
}

/// C++ files under a folder, relative to the root, sorted.
std::vector<std::string> sources(const char* folder) {
  std::vector<std::string> files;
  for (const auto& e : fs::recursive_directory_iterator(kRoot / folder)) {
    const auto ext = e.path().extension();
    if (e.is_regular_file() && (ext == ".cc" || ext == ".h"))
      files.push_back(fs::relative(e.path(), kRoot).generic_string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Layers, IncludesRunOneWay) {
  const auto files = sources("terrace");
  ASSERT_GT(files.size(), 100u);
  for (const std::string& file : files) {
    const std::string from = layer(file).value();
    EXPECT_TRUE(kMay.contains(from)) << file << ": say in kMay what this folder may include";
    for (const std::string& line : lines_of(kRoot / file))
      if (const auto header = included(line)) {
        EXPECT_TRUE(header->starts_with("terrace/")) << file << ": " << line << " is no path from the root";
        EXPECT_TRUE(allowed(from, *header)) << file << " must not include " << *header;
        EXPECT_TRUE(fs::exists(kRoot / *header)) << file << ": " << *header << " does not exist";
      }
  }
}

TEST(Layers, TheRulesThemselves) {
  EXPECT_FALSE(allowed("run", "terrace/sim/sim_engine.h"));
  EXPECT_FALSE(allowed("sim", "terrace/run/host_engine.h"));
  EXPECT_FALSE(allowed("run", "terrace/plan/planner/planner.h"));
  EXPECT_FALSE(allowed("run", "terrace/kernels/cpu/linear.h"));
  EXPECT_TRUE(allowed("run", "terrace/kernels/kernel.h"));
  EXPECT_FALSE(allowed("sim", "terrace/kernels/kernel.h"));
  EXPECT_FALSE(allowed("core", "terrace/graph/graph.h"));
  EXPECT_FALSE(allowed("kernels", "terrace/ops/ops.h"));
  EXPECT_FALSE(allowed("program", "terrace/cli/args.h"));
  EXPECT_TRUE(allowed("program", "terrace/kernels/cpu/linear.h"));
  // No two folders may include each other.
  for (const auto& [folder, may] : kMay)
    for (const std::string& other : may) {
      const bool back = other != folder && kMay.contains(other) && kMay.at(other).contains(folder);
      EXPECT_FALSE(back) << folder << " and " << other;
    }
}

TEST(Layers, SourceFilesAreShort) {
  for (const char* folder : {"terrace", "tests", "examples"})
    for (const std::string& file : sources(folder)) {
      if (kTables.contains(file)) continue;
      EXPECT_LE(lines_of(kRoot / file).size(), kMostLines) << file << ": split it, one idea a file";
    }
}

TEST(Layers, HeadersAreShort) {
  std::size_t headers = 0;
  for (const std::string& file : sources("terrace")) {
    if (!file.ends_with(".h")) continue;
    const std::size_t most = file.starts_with(kTemplates) ? kMostTemplateLines : kMostHeaderLines;
    EXPECT_LE(lines_of(kRoot / file).size(), most) << file << ": split it, one idea a header";
    ++headers;
  }
  EXPECT_GT(headers, 50u);
}

/// Lines of a folder that name a model, its tensors or a format of model files.
std::vector<std::string> lines_naming_a_model(const char* folder) {
  std::vector<std::string> found;
  for (const std::string& file : sources(folder))
    for (const std::string& line : lines_of(kRoot / file)) {
      std::string small = line;
      for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      for (const char* name : {"llama", "smol", "blk.", "attn_", "ffn_", "token_embd", "gguf"})
        if (small.find(name) != small.npos) found.push_back(file + ": " + line);
    }
  return found;
}

TEST(Layers, TheTrunkNamesNoModel) {
  for (const char* folder : {"terrace/plan", "terrace/engine", "terrace/run", "terrace/sim", "terrace/machine"})
    for (const std::string& line : lines_naming_a_model(folder)) ADD_FAILURE() << line << "\n  names a model";
  // Where models are at home the same search finds them.
  EXPECT_GT(lines_naming_a_model("terrace/nn").size(), 10u);
  EXPECT_GT(lines_naming_a_model("terrace/io").size(), 10u);
}

TEST(Layers, EveryFolderHasAReadme) {
  std::vector<fs::path> folders = {"machines", "tests", "bench", "scripts", "docs"};
  for (const auto& e : fs::directory_iterator(kRoot / "terrace"))
    if (e.is_directory()) folders.push_back(fs::path("terrace") / e.path().filename());
  ASSERT_GT(folders.size(), 10u);
  for (const fs::path& folder : folders)
    EXPECT_TRUE(fs::exists(kRoot / folder / "README.md")) << folder << ": say what lives here and what it may use";
}

}  // namespace
}  // namespace terrace
