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

  const std::string model = folder / "m.gguf";
  testing::TinyLlama m;
  write_tiny_llama(model, m);
  const std::string machine = prefix + "/share/terrace/machines/raspberry-pi-5.toml";
  const Outcome o = succeeds({build + "/uses_terrace", model, machine, "512", "Once"});
  std::istringstream words(o.out);
  std::vector<std::string> all(std::istream_iterator<std::string>(words), {});
  ASSERT_EQ(all.size(), 9u) << o.out;  // half of the 16 tokens, and why
  EXPECT_EQ(all.back(), "cancelled");

  const Outcome by_tool = testing::Process(folder, {prefix + "/bin/terrace", "run", model, "--prompt", "Once", "--ctx",
                                                    "64", "--max-tokens", "8", "--ignore-eos", "--enforce", "none",
                                                    "--machine", "raspberry-pi-5", "--json", "-"})
                              .wait();
  ASSERT_EQ(by_tool.code, 0) << by_tool.err;  // finds the installed machine by name
  const auto document = nlohmann::json::parse(by_tool.out, nullptr, false);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(std::to_string(document["output_ids"][i].get<int>()), all[i]);

  const Outcome refused = Process(folder, {build + "/uses_terrace", model, machine, "1", "Once"}).wait();
  EXPECT_EQ(refused.code, 3) << refused.err;
}

}  // namespace
}  // namespace terrace
