// terrace train: a whole run, resumed after kills at any moment, and what goes wrong.
#include <signal.h>

#include <chrono>
#include <cstdlib>

#include "support/file_size_limit.h"
#include "support/random_graph.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;

class Train : public ::testing::Test {
 protected:
  Train() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "Rice grew on step " + std::to_string(i % 7) + ".\n";
    std::ofstream(folder_ / "text") << text;
    write(config_);
  }
  void write(const std::string& config) { std::ofstream(folder_ / "c.toml") << config; }
  /// The configuration with one text in it replaced.
  void change(const std::string& from, const std::string& to) {
    const std::size_t at = config_.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    config_.replace(at, from.size(), to);
    write(config_);
  }
  std::vector<std::string> words(bool resume) const {
    std::vector<std::string> w = {"train", folder_ / "c.toml", "--threads", "2"};
    if (resume) w.emplace_back("--resume");
    return w;
  }
  Outcome run(bool resume = false, const std::function<void()>& before = {}) {
    return testing::tool(folder_, words(resume), before);
  }
  std::string checkpoint() const { return folder_ / "run/checkpoint.safetensors"; }
  std::vector<nlohmann::json> metrics() const {
    std::vector<nlohmann::json> lines;
    std::ifstream f(folder_ / "run/metrics.jsonl");
    for (std::string line; std::getline(f, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  int partial_files() const {
    std::error_code none;
    int n = 0;
    for (const auto& f : std::filesystem::directory_iterator(folder_ / "run", none))
      n += f.path().extension() == ".partial";
    return n;
  }
  void refused(int code, const std::vector<std::string>& parts, bool resume = false) {
    const Outcome o = run(resume);
    EXPECT_EQ(o.code, code) << o.err;
    for (const std::string& p : parts) EXPECT_NE(o.err.find(p), std::string::npos) << p << " in\n" << o.err;
  }

  testing::TemporaryFolder folder_;
  std::string config_ =
      "[model]\nkind = \"gpt\"\nlayers = 2\nwidth = 16\nheads = 2\ncontext = 16\ndropout = 0.1\n"
      "[data]\ntext = \"text\"\n"
      "[optimizer]\nrate = 1e-2\nclip = 1\nwarm_up = 4\n"
      "[run]\nfolder = \"run\"\nsteps = 60\nbatch = 4\nevaluate_every = 20\nsave_every = 4\n";
};

TEST_F(Train, LeavesMetricsACurveAndACheckpoint) {
  const Outcome o = run();
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.json["steps"], 60);
  EXPECT_EQ(o.json["weights_sha256"].get<std::string>().size(), 64u);
  EXPECT_LE(o.json["region_bytes"].get<double>(), 1.03 * o.json["live_bytes"].get<double>());
  const auto lines = metrics();
  ASSERT_EQ(lines.size(), 60u);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["step"], i + 1);
    for (const char* key : {"loss", "tokens", "seconds", "predicted_seconds", "lr", "grad_norm", "peak_bytes"})
      EXPECT_TRUE(lines[i][key].is_number()) << key;
    EXPECT_EQ(lines[i].contains("val_loss"), (i + 1) % 20 == 0);
  }
  EXPECT_GT(lines[0]["loss"].get<double>(), 2.5);
  EXPECT_LT(lines.back()["val_loss"].get<double>(), 2.2);
  EXPECT_NE(testing::slurp(folder_ / "run/loss.svg").find("<svg"), std::string::npos);
  refused(2, {"there is a run in this folder", "--resume"});
}

TEST_F(Train, FusionsChangeNoBit) {
  const Outcome fused = run();
  ASSERT_EQ(fused.code, 0) << fused.err;
  std::filesystem::remove_all(folder_ / "run");
  std::vector<std::string> w = words(false);
  w.insert(w.end(), {"--no-fuse", "all"});
  const Outcome plain = testing::tool(folder_, w);
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_EQ(plain.json["weights_sha256"], fused.json["weights_sha256"]);
  w.back() = "everything";
  EXPECT_EQ(testing::tool(folder_, w).code, 2);
}

TEST_F(Train, RunContinuesATextWithWhatWasTrained) {
  change("steps = 60", "steps = 200");
  ASSERT_EQ(run().code, 0);
  const auto sample = [&](std::vector<std::string> more) {
    std::vector<std::string> w = {"run", checkpoint(), "--prompt", "Rice grew on st", "--max-tokens", "60"};
    w.insert(w.end(), more.begin(), more.end());
    return testing::tool(folder_, w);
  };
  const Outcome o = sample({"--threads", "1"});
  ASSERT_EQ(o.code, 0) << o.err;
  const std::string text = o.json["text"];
  EXPECT_EQ(o.out, text + "\n");
  EXPECT_EQ(o.json["output_ids"].size(), 60u);  // beyond the context of 16
  EXPECT_TRUE(text.starts_with("ep ")) << text;
  EXPECT_EQ(sample({"--threads", "2"}).json["text"], text);
  EXPECT_EQ(sample({"--budget", "64MiB"}).code, 2);
  EXPECT_EQ(sample({"--prompt", "\x01"}).code, 2);
  const std::string bytes = testing::slurp(checkpoint());
  std::ofstream(checkpoint(), std::ios::binary) << bytes.substr(0, 5000);
  EXPECT_EQ(sample({}).code, 4);
}

/// With dropout, clipping and a checkpoint every step; two parts a step half of the time.
TEST_F(Train, KilledAtAnyMomentItEndsWithTheSameWeights) {
  const char* all = std::getenv("TERRACE_FAULTS");
  const int enough = all != nullptr && std::string(all) == "all" ? 200 : 12;
  testing::Random random(7);
  change("save_every = 4", "save_every = 1");  // most moments are moments of writing
  int kills = 0, while_writing = 0;
  for (const char* parts : {"1", "2"}) {
    if (*parts == '2') change("batch = 4", "batch = 4\naccumulate = 2");
    std::filesystem::remove_all(folder_ / "run");
    const auto begin = std::chrono::steady_clock::now();
    const Outcome plain = run();
    ASSERT_EQ(plain.code, 0) << plain.err;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const int until = *parts == '1' ? enough / 2 : enough;
    while (kills < until) {
      std::filesystem::remove_all(folder_ / "run");
      for (i64 n = 1 + random.below(4); n > 0; --n) {
        auto w = words(std::filesystem::exists(checkpoint()));
        w.insert(w.begin(), testing::tool_path());
        testing::Process p(folder_, w);
        ::usleep(static_cast<useconds_t>(1e6 * seconds * static_cast<double>(random.below(1000)) / 1000));
        if (!p.running()) {
          p.wait();
          break;
        }
        p.kill(SIGKILL);
        p.wait();
        ++kills;
        while_writing += partial_files();
      }
      const Outcome o = run(std::filesystem::exists(checkpoint()));
      ASSERT_EQ(o.code, 0) << o.err;
      ASSERT_EQ(o.json["weights_sha256"], plain.json["weights_sha256"]) << "after " << kills << " kills";
      ASSERT_EQ(metrics().size(), 60u);
      EXPECT_EQ(partial_files(), 0);
    }
  }
  std::printf("  %d kills, %d of them while a checkpoint was written\n", kills, while_writing);
}

TEST_F(Train, InterruptedItSavesAndSaysHowToGoOn) {
  change("steps = 60", "steps = 100000");
  auto w = words(false);
  w.insert(w.begin(), testing::tool_path());
  testing::Process p(folder_, w);
  for (int i = 0; i < 500 && !std::filesystem::exists(checkpoint()); ++i) ::usleep(20000);
  p.kill(SIGINT);
  const Outcome o = p.wait();
  EXPECT_EQ(o.code, 130) << o.err;
  EXPECT_NE(o.err.find("--resume"), std::string::npos) << o.err;
  const auto lines = metrics();
  ASSERT_FALSE(lines.empty());
  EXPECT_NE(o.err.find("after step " + std::to_string(lines.back()["step"].get<i64>())), std::string::npos) << o.err;
}

TEST_F(Train, BadConfigurationsAndTexts) {
  const std::string sound = config_;
  const auto bad = [&](const char* from, const char* to, std::vector<std::string> parts, int code = 4) {
    config_ = sound;
    change(from, to);
    refused(code, parts);
  };
  bad("width = 16", "widht = 16", {"widht", "unknown key", "c.toml:4", "width"});
  bad("heads = 2", "heads = 3", {"3 heads do not divide a width of 16", "c.toml:5"});
  bad("dropout = 0.1", "dropout = 1.5", {"dropout", "below 1"});
  bad("layers = 2", "layers = 2000", {"layers", "1024"});
  bad("kind = \"gpt\"", "kind = \"rnn\"", {"rnn", "gpt"});
  bad("[data]", "[date]", {"there is no [data]"});
  bad("steps = 60", "steps = 3", {"warm-up"});
  bad("text = \"text\"", "text = \"no such\"", {"no such", "cannot be opened"});
  bad("context = 16", "context = 9000", {"too few", "text"});
  bad("batch = 4", "batch = 400", {"validation part", "batch of 400"});
  config_ = sound;
  write(config_ + "[model]\n");
  refused(4, {"c.toml:"});
  write("nonsense");
  refused(4, {"c.toml:1"});
  std::ofstream(folder_ / "text") << "";
  write(config_);
  refused(4, {"too few"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(Train, TextsThatATokenizerCuts) {
  const std::string vocabulary = TERRACE_TEST_DATA "/tokenizer/smollm-vocab.gguf";
  std::filesystem::copy_file(vocabulary, folder_ / "words.gguf");
  change("text = \"text\"", "text = \"text\"\ntokens = \"tokenizer\"\ntokenizer = \"words.gguf\"");
  change("steps = 60", "steps = 8");
  const Outcome o = run();
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NEAR(metrics()[0]["loss"].get<double>(), std::log(49152), 0.1);
  EXPECT_LT(o.json["loss"].get<double>(), std::log(49152) - 0.5);
  const auto sample = [&] {
    return testing::tool(folder_, {"run", checkpoint(), "--prompt", "Rice grew", "--max-tokens", "4"});
  };
  const Outcome text = sample();
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.json["output_ids"].size(), 4u);
  EXPECT_FALSE(text.json["text"].get<std::string>().empty());
  refused(2, {"there is a run in this folder"});
  std::filesystem::copy_file(TERRACE_TEST_DATA "/tokenizer/ggml-vocab-gpt-2.gguf", folder_ / "words.gguf",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(sample().code, 4);
  std::filesystem::remove(folder_ / "words.gguf");
  EXPECT_EQ(sample().code, 4);
}

TEST_F(Train, BySgd) {
  change("rate = 1e-2\n", "kind = \"sgd\"\nrate = 0.3\nmomentum = 0.5\n");
  const Outcome o = run();
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_LT(o.json["val_loss"].get<double>(), metrics()[0]["loss"].get<double>() - 0.5);
  change("momentum = 0.5", "momentum = 0.6");
  refused(4, {"another configuration", "momentum"}, true);
  change("momentum = 0.6", "beta1 = 0.5");
  refused(4, {"beta1"}, true);
}

TEST_F(Train, ALossThatIsNoNumberStopsIt) {
  change("steps = 60", "steps = 8");
  ASSERT_EQ(run().code, 0);
  std::filesystem::remove_all(folder_ / "run");
  change("rate = 1e-2", "rate = 1e28");
  change("save_every = 4", "save_every = 1");
  const Outcome o = run();
  EXPECT_EQ(o.code, 1) << o.err;
  for (const char* part : {"step ", "no number", "first tensor", "the last checkpoint is as it was"})
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("h.0.q (matmul)"), std::string::npos) << "the first product of huge weights: " << o.err;
}

TEST_F(Train, AlteredAndForeignCheckpointsAreRefused) {
  ASSERT_EQ(run().code, 0);
  std::string bytes = testing::slurp(checkpoint());
  const auto with = [&](std::size_t at) {
    std::string b = bytes;
    b[at] = static_cast<char>(b[at] ^ 1);
    std::ofstream(checkpoint(), std::ios::binary) << b;
  };
  with(bytes.size() - 100);
  refused(4, {"checkpoint.safetensors"}, true);
  with(200);
  refused(4, {"checkpoint.safetensors"}, true);
  std::ofstream(checkpoint(), std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  refused(4, {"checkpoint.safetensors"}, true);
  std::ofstream(checkpoint(), std::ios::binary) << bytes;
  change("rate = 1e-2", "rate = 2e-2");
  refused(4, {"another configuration", "optimizer"}, true);
  change("layers = 2", "layers = 1");
  refused(4, {"checkpoint.safetensors"}, true);
}

/// A full disk, as a limit on the size of files: the checkpoint that was there stays.
TEST_F(Train, AFullDiskLosesNoCheckpoint) {
  change("steps = 60", "steps = 100000");
  change("save_every = 4", "save_every = 30");
  auto w = words(false);
  w.insert(w.begin(), testing::tool_path());
  {
    testing::Process p(folder_, w);
    for (int i = 0; i < 500 && !std::filesystem::exists(checkpoint()); ++i) ::usleep(20000);
    p.kill(SIGKILL);
    p.wait();
  }
  const std::string before = testing::slurp(checkpoint());
  const Outcome o = run(true, [] { new test::FileSizeLimit(60000); });
  EXPECT_EQ(o.code, 1) << o.err;
  EXPECT_NE(o.err.find("checkpoint.safetensors"), std::string::npos) << o.err;
  EXPECT_EQ(testing::slurp(checkpoint()), before);
}

}  // namespace
}  // namespace terrace
