// The installed library, used by a project outside the tree.
#include <gtest/gtest.h>

#include <iterator>

#include "support/tiny_llama.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;
using testing::Process;
using testing::TemporaryFolder;

TEST(Package, AProgramOutsideTheTreeFindsItAndStopsHalfWay) {
  const TemporaryFolder folder;
  const std::string prefix = folder / "prefix", project = folder / "project", build = folder / "build";
  std::filesystem::copy(std::string(TERRACE_SOURCE_DIR) + "/examples/package", project);
  const auto succeeds = [&](std::vector<std::string> command) {
    const Outcome o = Process(folder, std::move(command)).wait();
    EXPECT_EQ(o.code, 0) << o.out << o.err;
    return o;
  };
  succeeds({"/usr/bin/env", "cmake", "--install", TERRACE_BINARY_DIR, "--prefix", prefix});
  succeeds({"/usr/bin/env", "cmake", "-S", project, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_PREFIX_PATH=" + prefix});
  succeeds({"/usr/bin/env", "cmake", "--build", build});

  const std::string model = folder / "m.gguf", other = folder / "other.gguf";
  testing::TinyLlama m;
  write_tiny_llama(model, m);
  m.layers += 2;
  write_tiny_llama(other, m);
  const std::string machine = prefix + "/share/terrace/machines/raspberry-pi-5.toml";
  const auto ids_by_tool = [&](const std::string& path) {
    const Outcome o =
        Process(folder, {prefix + "/bin/terrace", "run", path, "--prompt", "Once", "--ctx", "64", "--max-tokens", "8",
                         "--ignore-eos", "--enforce", "none", "--machine", "raspberry-pi-5", "--json", "-"})
            .wait();
    EXPECT_EQ(o.code, 0) << o.err;  // finds the installed machine by name
    std::string ids;
    const auto document = nlohmann::json::parse(o.out, nullptr, false);
    for (const auto& id : document["output_ids"]) ids += std::to_string(id.get<int>()) + ' ';
    return ids;
  };
  const auto both = [&](int mib) {
    return Process(folder, {build + "/uses_terrace", model, other, machine, std::to_string(mib), "Once"}).wait();
  };
  const Outcome o = both(512);
  ASSERT_EQ(o.code, 0) << o.out << o.err;
  std::istringstream lines(o.out);
  std::string first, second, total;
  std::getline(lines, first);
  std::getline(lines, second);
  std::getline(lines, total);
  EXPECT_EQ(first, ids_by_tool(model) + "cancelled");  // half of the 16 tokens, and why
  EXPECT_EQ(second, ids_by_tool(other) + "cancelled");
  EXPECT_LE(std::stoull(total), u64{512} << 20);  // of the process, both models in it

  EXPECT_EQ(both(1).code, 3);
}

}  // namespace
}  // namespace terrace
