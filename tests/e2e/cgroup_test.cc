// The budget as the kernel counts it: the tool, cold, in a memory cgroup that this test makes.
#include <grp.h>
#include <gtest/gtest.h>

#include <charconv>
#include <optional>
#include <thread>

#include "support/tiny_llama.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;
using testing::slurp;
using testing::TemporaryFolder;

bool put(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY);
  const bool good = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) ::close(fd);
  return good;
}

/// A memory cgroup, version 1 or 2, that goes with its owner.
class MemoryCgroup {
 public:
  /// Nothing where none can be made; with a limit, swap is off.
  static std::unique_ptr<MemoryCgroup> make(std::optional<u64> limit) {
    for (const auto& [parent, version] : parents()) {
      const std::string folder = parent + "/terrace-test." + std::to_string(::getpid());
      if (::mkdir(folder.c_str(), 0755) != 0) continue;
      std::unique_ptr<MemoryCgroup> g(new MemoryCgroup(folder, version));
      if (std::filesystem::exists(g->peak_file()) && (!limit || g->limit(*limit))) return g;
    }
    return nullptr;
  }
  ~MemoryCgroup() {
    for (int i = 0; i < 100 && ::rmdir(folder_.c_str()) != 0 && errno == EBUSY; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  void join() const {
    if (!put(folder_ + "/cgroup.procs", std::to_string(::getpid()))) ::_exit(124);
  }
  u64 peak() const { return number(slurp(peak_file())); }
  u64 kills() const {
    const std::string s = slurp(folder_ + (version_ == 1 ? "/memory.oom_control" : "/memory.events"));
    const std::size_t at = s.find("oom_kill ");
    return at == s.npos ? 0 : number(s.substr(at + 9));
  }

 private:
  MemoryCgroup(std::string folder, int version) : folder_(std::move(folder)), version_(version) {}
  static u64 number(const std::string& s) {
    u64 v = 0;
    std::from_chars(s.data(), s.data() + s.size(), v);
    return v;
  }
  std::string peak_file() const { return folder_ + (version_ == 1 ? "/memory.max_usage_in_bytes" : "/memory.peak"); }
  bool limit(u64 bytes) const {
    const std::string text = std::to_string(bytes);
    if (version_ == 2) {
      put(folder_ + "/memory.swap.max", "0");
      return put(folder_ + "/memory.max", text);
    }
    put(folder_ + "/memory.swappiness", "0");
    const bool good = put(folder_ + "/memory.limit_in_bytes", text);
    put(folder_ + "/memory.memsw.limit_in_bytes", text);
    return good;
  }
  static std::vector<std::pair<std::string, int>> parents() {
    std::vector<std::pair<std::string, int>> all;
    std::ifstream self("/proc/self/cgroup");
    for (std::string line; std::getline(self, line);) {
      const std::size_t path = line.find(':', line.find(':') + 1) + 1;
      if (line.find(":memory:") != line.npos) {
        all.insert(all.begin(), {"/sys/fs/cgroup/memory" + line.substr(path), 1});
        all.insert(all.begin() + 1, {"/sys/fs/cgroup/memory", 1});
      } else if (line.starts_with("0::")) {
        const std::string own = "/sys/fs/cgroup" + (line.substr(path) == "/" ? "" : line.substr(path));
        all.emplace_back(own, 2);
        all.emplace_back(own.substr(0, own.rfind('/')), 2);
      }
    }
    return all;
  }
  std::string folder_;
  int version_;
};

/// Makes the next start cold: pages of the file leave the page cache unless somebody else has them mapped.
void drop_pages(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  ASSERT_GE(fd, 0) << path;
  ::fsync(fd);
  EXPECT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(fd);
}

class Budgets : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's own memory has no place in a budget: see the release build";
#endif
    if (!MemoryCgroup::make(u64{64} << 20))
      GTEST_SKIP() << "NO MEMORY CGROUP CAN BE MADE HERE: THE BUDGET IS NOT TESTED";
    testing::TinyLlama m;  // about 30 MB
    m.layers = 8;
    m.width = 256;
    m.ffn = 1024;
    m.heads = 4;
    m.kv_heads = 2;
    m.types = {test::kQ8_0, test::kF16};
    write_tiny_llama(model_, m);
  }
  std::vector<std::string> command(u64 budget, const std::string& enforce) const {
    return {"run", model_,         "--prompt", "Steps of rice",        "--max-tokens", "6",    "--ctx",
            "32",  "--ignore-eos", "--budget", std::to_string(budget), "--enforce",    enforce};
  }
  /// Runs the tool in a cgroup of its own, cold.
  Outcome run(MemoryCgroup& group, u64 budget, const std::string& enforce) {
    drop_pages(model_);
    drop_pages(testing::tool_path());
    Outcome o = testing::tool(folder_, command(budget, enforce), [&] { group.join(); });
    RecordProperty("peak_at_" + std::to_string(budget), std::to_string(group.peak()));
    return o;
  }
  /// From the smallest, in whole MiB, to one in which all stays.
  std::vector<u64> budgets() {
    const Outcome o = testing::tool(folder_, command(1 << 20, "none"));
    const std::size_t at = o.err.find("smallest budget: ");
    EXPECT_NE(at, o.err.npos) << o.err;
    double mib = 0;
    if (at != o.err.npos) std::from_chars(o.err.data() + at + 17, o.err.data() + o.err.size(), mib);
    const u64 least = static_cast<u64>(mib) + 1;
    return {least << 20, (least + 10) << 20, (least + 40) << 20};
  }

  TemporaryFolder folder_;
  std::string model_ = folder_ / "m.gguf";
};

TEST_F(Budgets, PeakStaysUnderTheBudgetWithoutALimit) {
  for (const u64 budget : budgets()) {
    const auto group = MemoryCgroup::make(std::nullopt);
    const Outcome o = run(*group, budget, "none");
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.json["enforced"], false);
    EXPECT_LE(group->peak(), budget) << "over by " << (group->peak() - budget) / 1024 << " KiB at " << (budget >> 20)
                                     << " MiB";
    EXPECT_GT(group->peak(), u64{3} << 20) << "the cgroup saw nothing";
  }
}

/// Nothing is tuned to one file: other shapes and contexts, from the smallest budget on, to the byte as it was told.
TEST_F(Budgets, ThePredictedPeakIsWithinAMebibyte) {
  // A copy that nobody else runs: pages of the program that another group has brought in are not counted in this one.
  const std::string program = folder_ / "terrace", document = folder_ / "document.json";
  std::filesystem::copy_file(testing::tool_path(), program);
  constexpr i64 kShapes[][5] = {{2, 512, 1408, 8, 4}, {14, 128, 352, 4, 1}, {5, 320, 896, 5, 5}};
  for (const auto& [layers, width, ffn, heads, kv_heads] : kShapes) {
    testing::TinyLlama m;
    m.layers = layers;
    m.width = width;
    m.ffn = ffn;
    m.heads = heads;
    m.kv_heads = kv_heads;
    m.context = 2048;
    m.types = {test::kQ4_0, test::kQ8_0};
    write_tiny_llama(model_, m);
    for (const char* context : {"64", "512", "2048"}) {
      const Outcome plan = testing::tool(folder_, {"plan", model_, "--ctx", context});
      ASSERT_EQ(plan.code, 0) << plan.err;
      const u64 least = plan.json["smallest_budget_bytes"];
      for (const u64 budget : {least, least + (u64{6} << 20)}) {
        std::vector<std::string> words = command(budget, "none");
        words[7] = context;
        words.insert(words.begin(), program);
        words.insert(words.end(), {"--json", document});
        const auto group = MemoryCgroup::make(std::nullopt);
        drop_pages(model_);
        drop_pages(program);
        Outcome o = testing::Process(folder_, words, [&] { group->join(); }).wait();
        ASSERT_EQ(o.code, 0) << o.err;
        o.json = nlohmann::json::parse(slurp(document));
        const double gap = static_cast<double>(group->peak()) - o.json["predicted_peak_bytes"].get<double>();
        EXPECT_LE(gap, 0) << layers << " layers, context " << context << ", budget " << budget;
        EXPECT_GT(gap, -1.0 * (1 << 20)) << layers << " layers, context " << context << ", budget " << budget;
      }
    }
  }
}

TEST_F(Budgets, NeverKilledWithTheLimitAtTheBudget) {
  nlohmann::json first;
  for (const u64 budget : budgets()) {
    const auto group = MemoryCgroup::make(budget);
    const Outcome o = run(*group, budget, "none");
    EXPECT_EQ(group->kills(), 0u);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.json["enforced"], true);
    if (first.is_null()) first = o.json["output_ids"];
    EXPECT_EQ(o.json["output_ids"], first);
  }
}

/// A budget so small that the tool judges it before it makes a cgroup is enforced like any other.
TEST_F(Budgets, SmallBudgetsAreEnforcedToo) {
  testing::TinyLlama m;
  m.layers = 1;
  write_tiny_llama(model_, m);
  std::vector<std::string> words = command(u64{12} << 20, "kernel");
  words.erase(words.begin() + 6, words.begin() + 8);  // no --ctx: the context is not known when the budget is judged
  const Outcome o = testing::tool(folder_, words);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.json["enforced"], true) << o.err;
  EXPECT_EQ(o.json["peak_source"], "cgroup");
}

TEST_F(Budgets, TheToolMakesItsOwnCgroup) {
  for (const u64 budget : budgets()) {
    const auto group = MemoryCgroup::make(std::nullopt);
    const Outcome o = run(*group, budget, "auto");
    ASSERT_EQ(o.code, 0) << o.err;
    ASSERT_EQ(o.json["enforced"], true) << o.err;
    EXPECT_EQ(o.json["peak_source"], "cgroup");
    // It may count a mapped page twice: those of the program itself.
    const u64 program = std::filesystem::file_size(testing::tool_path());
    EXPECT_LE(o.json["peak_bytes"].get<u64>(), budget + program);
    EXPECT_GT(o.json["peak_bytes"].get<u64>(), u64{3} << 20);
  }
}

/// Where nobody may make a cgroup the budget is kept all the same, and one line says what is lost.
TEST(WithoutACgroup, TheToolGoesOnAndSaysSo) {
  const bool root = ::getuid() == 0;
  const auto become_nobody = [root] {
    constexpr uid_t kNobody = 65534;
    if (root && (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) ::_exit(124);
  };
  const TemporaryFolder folder;
  ::chmod(folder.path().c_str(), 0777);
  const std::string model = folder / "m.gguf";
  write_tiny_llama(model, testing::TinyLlama{});
  ::chmod(model.c_str(), 0644);
  const auto run = [&](const char* enforce) {
    for (const char* name : {"out", "err", "document.json"}) std::filesystem::remove(folder / name);
    return testing::tool(
        folder,
        {"run", model, "--prompt", "a", "--max-tokens", "2", "--budget", testing::budget_of(64), "--enforce", enforce},
        become_nobody);
  };
  const Outcome o = run("auto");
  if (o.code == 125) GTEST_SKIP() << "an ordinary user does not reach the build folder";
  ASSERT_EQ(o.code, 0) << o.err;
  if (!root && o.json["enforced"] == true) GTEST_SKIP() << "this user may make cgroups";
  EXPECT_EQ(o.json["enforced"], false);
  const std::string line = "terrace: the budget is kept but not enforced by the kernel: ";
  const std::size_t at = o.err.find(line);
  ASSERT_NE(at, o.err.npos) << o.err;
  EXPECT_EQ(o.err.find(line, at + 1), o.err.npos) << "said twice";
  const Outcome strict = run("kernel");
  EXPECT_EQ(strict.code, 1);
  EXPECT_NE(strict.err.find("cannot be asked to hold the budget"), strict.err.npos) << strict.err;
}

}  // namespace
}  // namespace terrace
