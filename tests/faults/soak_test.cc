// Runs with random shapes, budgets, contexts, threads and faults, by seed: the right token ids or a clean error.
#include <signal.h>

#include <cerrno>
#include <random>

#include "faults/subject.h"
#include "terrace/kernels/kernel.h"

namespace terrace::faults {
namespace {

/// A way in which a call may go wrong. `harmless`: the run must go on as if nothing had happened.
struct Way {
  Calls calls;
  Action action;
  int value;
  bool harmless;
};
constexpr Way kWays[] = {
    {Calls::none, Action::fail, 0, true},           {Calls::none, Action::fail, 0, true},
    {Calls::read, Action::fail, EIO, false},        {Calls::read, Action::fail, EINTR, true},
    {Calls::read, Action::shorten, 0, true},        {Calls::read, Action::stall, 150, true},
    {Calls::write, Action::fail, ENOSPC, false},    {Calls::write, Action::shorten, 0, true},
    {Calls::open, Action::fail, EIO, false},        {Calls::open, Action::fail, ENFILE, false},
    {Calls::memory, Action::fail, ENOMEM, false},   {Calls::ring, Action::fail, EPERM, false},
    {Calls::ring, Action::fail, EINTR, true},       {Calls::process, Action::fail, EAGAIN, false},
    {Calls::tidy, Action::fail, EIO, false},        {Calls::any, Action::stall, 150, true},
    {Calls::any, Action::kill_one, SIGTERM, false}, {Calls::any, Action::kill_one, SIGINT, false},
    {Calls::any, Action::interrupt, SIGINT, false},
};

testing::TinyLlama shape(int which) {
  testing::TinyLlama m = Subject::untied();
  m.seed = static_cast<u64>(which) + 10;
  if (which == 1) m.layers = 4, m.width = 128, m.heads = 4, m.kv_heads = 2, m.types = {test::kQ4_0, test::kF16};
  if (which == 2) m.layers = 1, m.width = 32, m.heads = 1, m.ffn = 64, m.types = {test::kF32};
  if (which == 3) m.layers = 6, m.ffn = 320, m.types = {test::kQ8_0, test::kQ4_1}, m.tied = true;
  return m;
}

class Soak {
 public:
  Soak() {
    for (int i = 0; i < 4; ++i) subjects_.push_back(std::make_unique<Subject>(shape(i)));
  }
  /// One run. What it was, for messages, in `told`.
  ::testing::AssertionResult run(u64 seed, std::string& told) {
    std::mt19937_64 random(seed);
    const auto below = [&random](u64 n) { return random() % n; };
    Subject& s = *subjects_[below(4)];
    const std::vector<std::string> kept = {"--kv", below(2) ? "f16" : "q8_0", "--isa", isas()[below(isas().size())]};
    std::vector<std::string> words = base(s, kept);
    const u64 file = std::filesystem::file_size(s.model), least = u64{6} << 20;
    const u64 budget = least + below(file + (u64{4} << 20) - std::min(least, file));
    Way way = kWays[below(std::size(kWays))];
    if (kSanitized && way.calls == Calls::memory) way = kWays[0];
    const bool enforced = !kSanitized && below(3) == 0;
    words.insert(words.end(), {"--budget", extra(budget), "--threads", std::to_string(1 + below(4)), "--ctx",
                               std::to_string(16 + below(200)), "--prompt-chunk", std::to_string(1 + below(20)), "--io",
                               below(2) ? "auto" : "pread", "--enforce", enforced ? "auto" : "none"});
    long& most = calls_[way.calls];
    const long nth = way.calls == Calls::none ? 0 : 1 + static_cast<long>(below(most ? static_cast<u64>(most) : 20));
    const Ended e = s.run(words, {way.calls, nth, way.action, way.value, false});
    most = std::max(most, e.calls);
    told = "seed " + std::to_string(seed) + ", " + name_of(way.calls) + " " + std::to_string(nth) + ":";
    for (const std::string& w : words) told += " " + w;
    if (!e.refused.empty()) return ::testing::AssertionFailure() << e.refused;
    return judge(s, e, kept, way);
  }
  void print() const {
    std::printf("  outcomes:");
    for (const auto& [what, count] : outcomes_) std::printf(" %s %d;", what.c_str(), count);
    std::printf("\n");
  }

 private:
  static std::string extra(u64 budget) {  // a sanitized binary is larger, and counts
    const u64 binary = std::filesystem::file_size(testing::tool_path());
    return std::to_string(budget + (binary > (u64{8} << 20) ? binary : 0));
  }
  static const std::vector<std::string>& isas() {
    static const std::vector<std::string> all = [] {
      std::vector<std::string> v = {"portable"};
      if (best_isa() >= Isa::avx2) v.emplace_back("avx2");
      if (best_isa() >= Isa::avx512) v.emplace_back("avx512");
      return v;
    }();
    return all;
  }
  static std::vector<std::string> base(const Subject& s, const std::vector<std::string>& kept) {
    std::vector<std::string> words = {"run", s.model,        "--prompt", "Once upon a time", "--max-tokens",
                                      "8",   "--ignore-eos", "--json",   s.json_file()};
    words.insert(words.end(), kept.begin(), kept.end());
    return words;
  }
  /// Without a budget, a fault, or more than one thread.
  const nlohmann::json& reference(Subject& s, const std::vector<std::string>& kept) {
    nlohmann::json& ids = references_[s.model + kept[1] + kept[3]];
    if (ids.is_null()) {
      std::vector<std::string> words = base(s, kept);
      words.insert(words.end(), {"--threads", "1", "--enforce", "none"});
      if (s.run(words, {}).code == 0) ids = s.document()["output_ids"];
    }
    return ids;
  }
  ::testing::AssertionResult judge(Subject& s, const Ended& e, const std::vector<std::string>& kept, const Way& way) {
    const bool signalled = way.action == Action::kill_one || way.action == Action::interrupt;
    const bool faulty = !way.harmless && !e.call.empty();
    std::set<int> codes = {0, 3};  // what does not fit is refused with or without a fault
    if (faulty) codes.insert({1, 4});
    if (signalled) codes.insert(130);
    if (e.call.starts_with("rmdir"))  // the fault itself: the next run of the tool would remove it
      for (const std::string& g : cgroups_of(e.pid)) ::rmdir(g.c_str());
    if (auto ended = clean(s, e, codes); !ended) return ended;
    ++outcomes_[e.code == 0     ? faulty ? "right ids in spite of a fault" : "right ids"
                : e.code == 3   ? "does not fit"
                : e.code == 4   ? "bad file"
                : e.code == 130 ? "interrupted"
                                : "failure with a message"];
    if (e.code != 0) return ::testing::AssertionSuccess();
    const nlohmann::json ids = s.document()["output_ids"];  // before the reference overwrites it
    const nlohmann::json& right = reference(s, kept);
    if (right.size() == 8 && ids == right) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "wrong ids " << ids << " instead of " << right << " after " << e.call;
  }

  std::vector<std::unique_ptr<Subject>> subjects_;
  std::map<std::string, nlohmann::json> references_;
  std::map<Calls, long> calls_;
  std::map<std::string, int> outcomes_;
};

TEST(Soak, RightIdsOrACleanError) {
  if (const Ended e = Subject().run({"--version"}, {}); !e.refused.empty())
    GTEST_SKIP() << "NO FAULTS ARE INJECTED HERE: " << e.refused;
  Soak soak;
  const char* one = std::getenv("TERRACE_FAULTS_SEED");  // to look at a single run again
  const u64 first = one ? std::strtoull(one, nullptr, 10) : 1, count = one          ? 1
                                                                       : thorough() ? 1000
                                                                       : kSanitized ? 6
                                                                                    : 25;
  for (u64 seed = first; seed < first + count; ++seed) {
    std::string told;
    const auto result = soak.run(seed, told);
    EXPECT_TRUE(result) << told;
  }
  soak.print();
}

}  // namespace
}  // namespace terrace::faults
