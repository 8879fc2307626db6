// A small random model from its file to tokens: through the library against the oracle, and through the built tool.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>
#include <thread>

#include "support/planning.h"
#include "support/tiny_llama.h"
#include "support/tool.h"
#include "terrace/engine/interpreter.h"
#include "terrace/plan/verify.h"
#include "terrace/program/model.h"
#include "terrace/run/host_engine.h"

namespace terrace {
namespace {

using testing::Outcome;
using testing::TemporaryFolder;
using testing::TinyLlama;
using testing::tool;
using testing::write_tiny_llama;

const std::string kPrompt = "Once upon a time, in a land of terraces, rice grew on every step.";
const std::vector<i32> kIds = {12, 7000, 300, 48000, 5, 5, 9999, 20000, 31, 2};

/// A model planned within budgets, its logits as the host engine and as the interpreter compute them.
class Subject {
 public:
  Subject(const TinyLlama& m, Layout kv = Layout::dense) : path_(folder_ / "m.gguf") {
    write_tiny_llama(path_, m);
    model_ = std::make_unique<Model>(open_model(path_));
    nn::LlamaOptions o;
    o.context = 32;
    o.max_tokens = 16;
    if (kv != Layout::dense) o.kv_dtype = DType::f32, o.kv_layout = kv;
    graph_ = build_graph(*model_, o);
    request_.weights = weight_places(graph_, *model_, testing::kDisk);
    request_.files = {{path_, Bytes{model_->file.size()}}};
    request_.isa = best_isa();
    request_.threads = 2;
    request_.bodies = {{"decode", {{1, 1}, {0, 31}}, {1, 16}, 16, kNoSymbol},
                       {"prompt", {{1, 16}, {0, 31}}, {16, 0}, 16, 0}};
  }
  u64 least() { return smallest_budget(graph_, machine_, kernels_, request_).count; }
  u64 weights() const { return request_.files[0].bytes.count; }

  /// Logits of the last of kIds, fed `chunk` at a time.
  std::vector<float> logits(std::optional<u64> budget, std::size_t chunk) {
    request_.budget.clear();
    if (budget) request_.budget = {{testing::kMemory, Bytes{*budget}}};
    const Plan p = make_plan(graph_, machine_, kernels_, request_);
    verify_or_throw(graph_, machine_, p, request_.weights);
    HostEngine e(graph_, p, kernels_);
    if (const u32 load = p.find_body("load"); load != kNone) e.run(load, {});
    for (std::size_t i = 0; i < kIds.size(); i += chunk)
      step(i, std::min(chunk, kIds.size() - i), [&](const Bindings& b) { e.run(p.body_for(b.symbols), b); });
    const TensorView t = e.output(graph_.outputs()[0]);
    const auto* f = reinterpret_cast<const float*>(t.data);
    return {f, f + t.dim[1]};
  }
  std::vector<float> oracle() {
    const std::string file = testing::slurp(path_);
    Interpreter it(graph_, kernels_, [&](ValueId v) {
      const io::GgufTensor* t = model_->file.find_tensor(graph_.value(v).name);
      const auto* b = reinterpret_cast<const std::byte*>(file.data()) + t->offset;
      return std::vector<std::byte>(b, b + t->bytes);
    });
    step(0, kIds.size(), [&](const Bindings& b) { it.run(b); });
    const auto b = it.bytes(graph_.outputs()[0]);
    std::vector<float> f(b.size() / 4);
    std::memcpy(f.data(), b.data(), b.size());
    return f;
  }

 private:
  template <class F>
  void step(std::size_t at, std::size_t count, F run) {
    const i64 symbols[] = {static_cast<i64>(count), static_cast<i64>(at)};
    const InputBinding in{*graph_.find_value("ids"), std::as_bytes(std::span(kIds).subspan(at, count))};
    run(Bindings{symbols, {&in, 1}});
  }

  TemporaryFolder folder_;
  std::string path_;
  std::unique_ptr<Model> model_;
  Graph graph_;
  Machine machine_ = testing::small_machine(4096);
  KernelTable kernels_ = cpu_kernels(best_isa());
  PlanRequest request_;
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double gap = 0, size = 1e-3;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    gap = std::max(gap, static_cast<double>(std::fabs(a[i] - b[i])));
    size = std::max(size, static_cast<double>(std::fabs(b[i])));
  }
  return gap / size;
}

void check_logits(const TinyLlama& m, Layout kv = Layout::dense) {
  Subject s(m, kv);
  const std::vector<float> first = s.logits(std::nullopt, 16);
  EXPECT_LE(distance(first, s.oracle()), 0.03);  // 8-bit roundings that fall the other way
  const u64 least = s.least();
  for (const u64 budget : {least, least + s.weights() / 4, least + s.weights() / 2})
    for (const std::size_t chunk : {16u, 3u, 1u})
      EXPECT_EQ(s.logits(budget, chunk), first) << "budget " << budget << ", chunks of " << chunk;
}

TEST(TinyModel, TiedLogitsAreTheOraclesAtEveryBudgetAndChunk) { check_logits({}); }

TEST(TinyModel, UntiedLogitsAreTheOraclesAtEveryBudgetAndChunk) {
  TinyLlama m;
  m.layers = 3;
  m.width = 128;
  m.heads = 4;
  m.kv_heads = 2;
  m.tied = false;
  m.types = {test::kF16, test::kQ8_0, test::kQ4_1};
  m.seed = 2;
  check_logits(m, Layout::q8_0);
}

/// The tool on a model of about 8 MB. Untied: a tied random one repeats its first token.
class ToolOnAModel : public ::testing::Test {
 protected:
  ToolOnAModel() { write_tiny_llama(model_, shape_); }
  Outcome run(std::vector<std::string> flags, const std::string& verb = "run") {
    std::vector<std::string> args = {verb, model_};
    if (verb == "run") args.insert(args.end(), {"--prompt", kPrompt, "--max-tokens", "12", "--ignore-eos"});
    args.insert(args.end(), {"--enforce", "none"});
    args.insert(args.end(), flags.begin(), flags.end());
    return tool(folder_, args);
  }
  nlohmann::json ids(std::vector<std::string> flags) {
    const Outcome o = run(std::move(flags));
    EXPECT_EQ(o.code, 0) << o.err;
    if (!o.json.is_object()) return nullptr;
    EXPECT_EQ(o.json["output_ids"].size(), 12u);
    EXPECT_GT(std::set<i32>(o.json["output_ids"].begin(), o.json["output_ids"].end()).size(), 6u);
    return o.json["output_ids"];
  }
  /// "smallest budget: 12.3MiB" of the messages.
  static std::string smallest(const std::string& err) {
    const std::string key = "smallest budget: ";
    const std::size_t at = err.find(key);
    return at == err.npos ? "" : err.substr(at + key.size(), err.find('\n', at) - at - key.size());
  }

  static TinyLlama untied() {
    TinyLlama m;
    m.tied = false;
    return m;
  }
  TinyLlama shape_ = untied();
  TemporaryFolder folder_;
  std::string model_ = folder_ / "m.gguf";
};

TEST_F(ToolOnAModel, SameIdsForEveryBudgetThreadsAndIo) {
  const nlohmann::json first = ids({});
  const std::string least = smallest(run({"--budget", "1MiB"}).err);
  ASSERT_NE(least, "");
  EXPECT_EQ(ids({"--budget", least}), first);
  EXPECT_EQ(ids({"--budget", testing::budget_of(64), "--threads", "1"}), first);
  EXPECT_EQ(ids({"--budget", least, "--threads", "1", "--io", "pread"}), first);
  EXPECT_EQ(ids({"--budget", least, "--threads", "2", "--io", "pread"}), first);
  EXPECT_EQ(ids({"--budget", least, "--threads", "2", "--prompt-chunk", "5"}), first);
  const Outcome uring = run({"--budget", least, "--io", "uring"});
  if (uring.code == 0) {
    EXPECT_EQ(uring.json["output_ids"], first);
  } else {
    EXPECT_NE(uring.err.find("io_uring"), std::string::npos) << uring.err;
  }
  const nlohmann::json q8 = ids({"--kv", "q8_0"});
  EXPECT_EQ(ids({"--kv", "q8_0", "--budget", testing::budget_of(64), "--threads", "1"}), q8);
}

TEST_F(ToolOnAModel, RefusesWhatDoesNotFitNamingWhatWould) {
  for (const char* budget : {"1MiB", "4MiB"}) {
    const Outcome o = run({"--budget", budget});
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_EQ(o.out, "");
    const std::string least = smallest(o.err);
    ASSERT_NE(least, "") << o.err;
    const Outcome fits = run({"--budget", least});
    EXPECT_EQ(fits.code, 0) << "refused at the smallest budget of " << least << ": " << fits.err;
  }
  const Outcome long_context = run({"--ctx", "100000"});
  EXPECT_EQ(long_context.code, 2) << long_context.err;
  EXPECT_NE(long_context.err.find("256"), std::string::npos) << long_context.err;
}

TEST_F(ToolOnAModel, RefusesBadFiles) {
  const auto expect = [&](const char* what) {
    for (const char* verb : {"run", "plan"}) {
      const Outcome o = run({}, verb);
      EXPECT_EQ(o.code, 4) << verb << ", " << what << ": " << o.err;
      EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
    }
  };
  TinyLlama m;
  m.architecture = "phi3";
  write_tiny_llama(model_, m);
  expect("phi3");
  m.architecture = "llama";
  m.odd_type = 12;
  write_tiny_llama(model_, m);
  expect("attn_q.weight");
  write_tiny_llama(model_, shape_);
  const u64 size = std::filesystem::file_size(model_);
  for (const u64 left : {size - 1, size / 2, u64{1000}, u64{10}, u64{0}}) {
    std::filesystem::resize_file(model_, left);
    expect("m.gguf");
  }
  std::ofstream(model_) << std::string(100000, 'x');
  expect("m.gguf");
}

TEST_F(ToolOnAModel, APlanRunsWithoutThePlanner) {
  const std::string plan = folder_ / "plan.json";
  const std::string machine = std::string(TERRACE_SOURCE_DIR) + "/machines/raspberry-pi-5.toml";
  const std::vector<std::string> same = {"--machine", machine, "--ctx", "64"};
  std::vector<std::string> flags = same;
  const Outcome direct = run(flags);
  ASSERT_EQ(direct.code, 0) << direct.err;
  flags.insert(flags.end(), {"--budget", testing::budget_of(11), "--out", plan});
  std::vector<std::string> args = {"plan", model_};
  args.insert(args.end(), flags.begin(), flags.end());
  const Outcome planned = tool(folder_, args);
  ASSERT_EQ(planned.code, 0) << planned.err;
  flags = same;
  flags.insert(flags.end(), {"--plan", plan, "--budget", testing::budget_of(11)});
  const Outcome by_tool = run(flags);
  ASSERT_EQ(by_tool.code, 0) << by_tool.err;
  EXPECT_EQ(by_tool.json["output_ids"], direct.json["output_ids"]);

  args = {std::string(TERRACE_BINARY_DIR) + "/plan_runner", model_, plan, machine, "64", "12"};
  for (const auto& id : direct.json["prompt_ids"]) args.push_back(std::to_string(id.get<int>()));
  const Outcome runner = testing::Process(folder_, args).wait();
  ASSERT_EQ(runner.code, 0) << runner.err;
  std::string expected;
  for (const auto& id : direct.json["output_ids"]) expected += std::to_string(id.get<int>()) + "\n";
  EXPECT_EQ(runner.out, expected);

  // A plan with an edge or a placement out of place is refused by both.
  nlohmann::json doc = nlohmann::json::parse(testing::slurp(plan));
  for (auto& body : doc["bodies"])
    for (auto& step : body["steps"]) step["after"] = nlohmann::json::array();
  std::ofstream(plan) << doc.dump();
  EXPECT_EQ(run(flags).code, 1);
  EXPECT_EQ(testing::Process(folder_, args).wait().code, 1);
}

TEST_F(ToolOnAModel, APlanFromAFileIsHeldToThePromises) {
  const std::string plan = folder_ / "plan.json", budget = testing::budget_of(11);
  const Outcome planned = tool(folder_, {"plan", model_, "--ctx", "64", "--budget", budget, "--out", plan});
  ASSERT_EQ(planned.code, 0) << planned.err;
  const nlohmann::json sound = nlohmann::json::parse(testing::slurp(plan));
  const auto expect = [&](const nlohmann::json& doc, int code, const std::string& what, const std::string& limit) {
    std::ofstream(plan) << doc.dump();
    const Outcome o = run({"--plan", plan, "--ctx", "64", "--enforce", "none", "--budget", limit});
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_NE(o.err.find(what), o.err.npos) << o.err;
  };
  expect(sound, 0, "", budget);
  u64 total = 0;
  for (const char* part : {"arenas", "reserves"})
    for (const auto& x : sound[part]) total += x["bytes"].get<u64>();
  expect(sound, 3, "more than the budget", std::to_string(total - 4096));

  nlohmann::json doc = sound;
  doc["reserves"] = nlohmann::json::array();
  expect(doc, 2, "keeps 0 bytes for the process", budget);

  doc = sound;
  for (auto& body : doc["bodies"])
    if (!body["once"]) body["symbols"][1] = {0, 7};
  expect(doc, 2, "no body for 1 tokens at position 8", budget);

  std::string text = sound.dump();
  int swapped = 0;
  for (std::size_t at = 0; (at = text.find("linear.q8a.q8_0", at)) != text.npos; ++swapped)
    text.replace(at, 15, "linear.q8a.q4_0");
  ASSERT_GT(swapped, 0);
  expect(nlohmann::json::parse(text), 4, "does not take the formats", budget);
}

TEST_F(ToolOnAModel, AFileCutWhileItIsStreamedIsAnError) {
  TinyLlama m;
  m.context = 4096;
  m.width = 128;
  write_tiny_llama(model_, m);
  const std::string least =
      smallest(tool(folder_, {"run", model_, "--prompt", "x", "--ctx", "4096", "--budget", "1MiB"}).err);
  ASSERT_NE(least, "");
  testing::Process p(folder_, {testing::tool_path(), "run", model_, "--prompt", "x", "--ctx", "4096", "--max-tokens",
                               "4000", "--ignore-eos", "--enforce", "none", "--budget", least});
  for (int i = 0; i < 1000 && p.running() && p.output_so_far().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_TRUE(p.running()) << p.wait().err;
  std::filesystem::resize_file(model_, std::filesystem::file_size(model_) / 2 / 4096 * 4096);
  const Outcome o = p.wait();
  EXPECT_EQ(o.code, 1) << o.err;
  EXPECT_NE(o.err.find("changed while in use"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find(model_), std::string::npos) << o.err;
}

}  // namespace
}  // namespace terrace
