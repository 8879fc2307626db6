// terrace train on a model file, terrace export of what it made, terrace run of that.
#include "support/tiny_llama.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;

TEST(FineTuneTool, TrainsExportsAndRuns) {
  const testing::TemporaryFolder folder;
  testing::write_tiny_llama(folder / "base.gguf", {});
  std::string text;
  for (int i = 0; i < 100; ++i) text += "Rice grew on step " + std::to_string(i % 7) + " of the terrace.\n";
  std::ofstream(folder / "text") << text;
  std::ofstream(folder / "c.toml")
      << "[model]\nkind = \"llama\"\nfile = \"base.gguf\"\ncontext = 16\n[lora]\nrank = 4\n"
         "[data]\ntext = \"text\"\n[optimizer]\nrate = 0.01\n"
         "[run]\nfolder = \"run\"\nsteps = 4\nbatch = 2\nsave_every = 2\n";
  const std::string checkpoint = folder / "run/checkpoint.safetensors";
  const auto tool = [&](std::vector<std::string> words) { return testing::tool(folder, std::move(words)); };

  const Outcome tight = tool({"train", folder / "c.toml", "--budget", "8MiB"});
  EXPECT_EQ(tight.code, 3) << tight.err;
  EXPECT_NE(tight.err.find("smallest budget"), std::string::npos) << tight.err;
  const std::string budget = testing::budget_of(48, "-train");
  const Outcome trained = tool({"train", folder / "c.toml", "--threads", "2", "--budget", budget});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(trained.json["tokens"], 4 * 2 * 16);
  EXPECT_TRUE(trained.json.contains("val_loss"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // a sanitizer's own memory has no place in it
  EXPECT_LE(trained.json["peak_bytes"].get<u64>(), std::stoull(budget) << 20);
#endif
  EXPECT_TRUE(std::filesystem::exists(folder / "run/text.tokens"));

  const Outcome alone = tool({"run", checkpoint, "--prompt", "Rice"});
  EXPECT_EQ(alone.code, 4);
  EXPECT_NE(alone.err.find("terrace export"), std::string::npos) << alone.err;

  const Outcome merged =
      tool({"export", checkpoint, "--base", folder / "base.gguf", "--merge", "--out", folder / "adapted.gguf"});
  ASSERT_EQ(merged.code, 0) << merged.err;
  EXPECT_EQ(merged.json["out_bytes"], std::filesystem::file_size(folder / "adapted.gguf"));
  const Outcome ran = tool({"run", folder / "adapted.gguf", "--prompt", "Rice grew", "--max-tokens", "4"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(tool({"export", checkpoint, "--out", folder / "adapter.gguf"}).code, 0);
  EXPECT_EQ(tool({"check-file", folder / "adapter.gguf"}).code, 0);
  EXPECT_EQ(tool({"export", checkpoint}).code, 2) << "--out is missing";
  EXPECT_EQ(tool({"export", folder / "base.gguf", "--out", folder / "x.gguf"}).code, 4);

  // The text was changed since.
  std::ofstream(folder / "text") << text + "One more line.\n";
  const Outcome other = tool({"train", folder / "c.toml", "--resume"});
  EXPECT_EQ(other.code, 4) << "another text";
  EXPECT_NE(other.err.find("data"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace terrace
