// terrace train on labelled images: what a run leaves, resuming, and what goes wrong.
#include <signal.h>

#include "support/idx_files.h"
#include "support/random_graph.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;

class TrainImages : public ::testing::Test {
 protected:
  TrainImages() {
    write("images.gz", testing::gzip(testing::idx_images(8, 8, pixels(600))));
    write("labels.gz", testing::gzip(testing::idx_labels(labels(600))));
    write("test_images", testing::idx_images(8, 8, pixels(130)));
    write("test_labels", testing::idx_labels(labels(130)));
    configure(config_);
  }
  /// Label i % 4 is the quarter of an image of noise that is brighter than the others.
  std::vector<std::byte> pixels(int n) {
    std::vector<std::byte> b;
    for (int i = 0; i < n; ++i)
      for (int p = 0; p < 64; ++p) {
        const int quarter = p / 32 * 2 + p % 8 / 4;
        b.push_back(static_cast<std::byte>(random_.below(120) + (quarter == i % 4 ? 80 : 0)));
      }
    return b;
  }
  static std::vector<std::byte> labels(int n) {
    std::vector<std::byte> b;
    for (int i = 0; i < n; ++i) b.push_back(static_cast<std::byte>(i % 4));
    return b;
  }
  void write(const std::string& name, const std::vector<std::byte>& b) {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
  }
  void configure(const std::string& config) { std::ofstream(folder_ / "c.toml") << config; }
  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
  }
  std::vector<std::string> words(bool resume) const {
    std::vector<std::string> w = {"train", folder_ / "c.toml", "--threads", "2"};
    if (resume) w.emplace_back("--resume");
    return w;
  }
  Outcome run(bool resume = false) { return testing::tool(folder_, words(resume)); }
  std::string checkpoint() const { return folder_ / "run/checkpoint.safetensors"; }

  testing::TemporaryFolder folder_;
  testing::Random random_{3};
  const std::string config_ =
      "[model]\nkind = \"vit\"\nlayers = 2\nwidth = 16\nheads = 2\npatch = 4\nclasses = 4\ndropout = 0.1\n"
      "[data]\nimages = \"images.gz\"\nlabels = \"labels.gz\"\ntest_images = \"test_images\"\n"
      "test_labels = \"test_labels\"\nshift = 1\n"
      "[optimizer]\nrate = 5e-3\nclip = 1\nwarm_up = 4\n"
      "[run]\nfolder = \"run\"\nsteps = 60\nbatch = 20\nevaluate_every = 30\nsave_every = 10\n";
};

TEST_F(TrainImages, LearnsAndSaysHowWell) {
  configure(replaced(config_, "steps = 60", "steps = 150"));
  const Outcome o = run();
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("600 images of 4 classes, 120 to test on (10 more fill no batch)"), std::string::npos) << o.out;
  EXPECT_GT(o.json["accuracy"].get<double>(), 0.9);
  EXPECT_LE(o.json["accuracy"].get<double>(), 1);
  EXPECT_LT(o.json["val_loss"].get<double>(), 0.4);
  EXPECT_EQ(o.json["images"], 3000);
  std::ifstream metrics(folder_ / "run/metrics.jsonl");
  int steps = 0;
  for (std::string line; std::getline(metrics, line);) {
    const auto j = nlohmann::json::parse(line);
    EXPECT_EQ(j["step"], ++steps);
    EXPECT_EQ(j["images"], 20);
    EXPECT_EQ(j.contains("accuracy"), steps % 30 == 0);
    EXPECT_EQ(j.contains("val_loss"), steps % 30 == 0);
  }
  EXPECT_EQ(steps, 150);
  EXPECT_NE(testing::slurp(folder_ / "run/loss.svg").find("nats an image"), std::string::npos);
  const Outcome text = testing::tool(folder_, {"run", checkpoint(), "--prompt", "x"});
  EXPECT_EQ(text.code, 2);
  EXPECT_NE(text.err.find("kind \"vit\", which makes no text"), std::string::npos) << text.err;
}

/// With dropout, shifts and two parts a step.
TEST_F(TrainImages, KilledAndResumedItEndsWithTheSameWeights) {
  configure(
      replaced(replaced(config_, "batch = 20", "batch = 10\naccumulate = 2"), "save_every = 10", "save_every = 1"));
  const Outcome whole = run();
  ASSERT_EQ(whole.code, 0) << whole.err;
  for (int kills = 0; kills < 2; ++kills) {
    std::filesystem::remove_all(folder_ / "run");
    auto w = words(false);
    w.insert(w.begin(), testing::tool_path());
    testing::Process p(folder_, w);
    for (int i = 0; i < 500 && !std::filesystem::exists(checkpoint()); ++i) ::usleep(2000);
    ::usleep(static_cast<useconds_t>(random_.below(100000)));
    p.kill(SIGKILL);
    p.wait();
    const Outcome o = run(true);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.json["weights_sha256"], whole.json["weights_sha256"]);
    EXPECT_EQ(o.json["accuracy"], whole.json["accuracy"]);
  }
}

/// The same graph for images of 8 x 8 pixels in memory, or in a plain file.
TEST_F(TrainImages, TheBudgetCountsImagesInMemory) {
  const auto smallest = [&] {
    auto w = words(false);
    w.insert(w.end(), {"--budget", "1MiB"});
    const Outcome o = testing::tool(folder_, w);
    EXPECT_EQ(o.code, 3) << o.err;
    const std::string before = "smallest budget that would do is ";
    const std::size_t at = o.err.find(before);
    return at == std::string::npos ? 0 : std::stoll(o.err.substr(at + before.size()));
  };
  const std::vector<std::byte> plain = testing::idx_images(8, 8, pixels(20000));
  const std::vector<std::byte> of_them = testing::idx_labels(labels(20000));
  write("many.gz", testing::gzip(plain));
  write("many", plain);
  write("many_labels", of_them);
  const std::string config = replaced(config_, "labels = \"labels.gz\"", "labels = \"many_labels\"");
  configure(replaced(config, "\"images.gz\"", "\"many.gz\""));
  const auto packed = smallest();
  configure(replaced(config, "\"images.gz\"", "\"many\""));
  EXPECT_NEAR(static_cast<double>(packed - smallest()), 20000 * 64, 65536);
}

TEST_F(TrainImages, BadConfigurationsAndFiles) {
  const auto refused = [&](const std::string& from, const std::string& to, std::vector<std::string> parts) {
    configure(replaced(config_, from, to));
    const Outcome o = run();
    EXPECT_EQ(o.code, 4) << o.err;
    for (const std::string& p : parts) EXPECT_NE(o.err.find(p), std::string::npos) << p << " in\n" << o.err;
  };
  refused("patch = 4", "patch = 3", {"patches of 3 x 3", "8 x 8 pixels", "model.patch"});
  refused("heads = 2", "heads = 3", {"3 heads do not divide a width of 16", "c.toml:5"});
  refused("classes = 4", "classes = 3", {"labels.gz", "label 3 is 3, none of 3 classes", "model.classes"});
  refused("classes = 4", "classes = 300", {"classes", "256"});
  refused("shift = 1", "shift = 8", {"a shift by 8", "data.shift"});
  refused("test_labels = \"test_labels\"\n", "", {"go together", "c.toml:"});
  refused("labels = \"labels.gz\"\n", "", {"labels", "c.toml:"});
  refused("batch = 20", "batch = 131", {"130 test images", "batch of 131", "run.batch"});
  refused("images = \"images.gz\"", "images = \"nothing\"", {"nothing", "cannot be opened"});
  refused("shift = 1", "text = \"c.toml\"", {"unknown key", "text"});
  write("oblong", testing::idx_images(16, 4, pixels(600)));
  refused(
      "images = \"images.gz\"\nlabels = \"labels.gz\"\ntest_images = \"test_images\"\ntest_labels = \"test_labels\"",
      "images = \"oblong\"\nlabels = \"labels.gz\"", {"oblong", "16 x 4 pixels", "square"});
  write("images.gz", {std::byte{1}, std::byte{2}});
  refused("kind", "kind", {"images.gz"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

}  // namespace
}  // namespace terrace
