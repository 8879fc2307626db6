// Every verb on a sound model: exit code 0, and a document with the keys that docs/interface.md promises.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "support/tiny_llama.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;
using testing::TemporaryFolder;
using testing::TinyLlama;
using testing::tool;

/// A space between keys; "a.b" is b in a (the first of them, where a is a list).
using Keys = std::string;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream s(text);
  for (std::string part; std::getline(s, part, at);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

void expect_keys(const nlohmann::json& document, const Keys& keys) {
  for (const std::string& key : split(keys, ' ')) {
    nlohmann::json at = document;
    for (const std::string& part : split(key, '.')) {
      if (at.is_array() && !at.empty()) at = at[0];
      const bool there = at.is_object() && at.contains(part);
      EXPECT_TRUE(there) << "no " << key;
      if (!there) break;
      const nlohmann::json next = at[part];
      at = next;
    }
  }
}

/// What every document begins with.
void expect_head(const nlohmann::json& document, const std::string& verb) {
  ASSERT_TRUE(document.is_object());
  expect_keys(document, "schema kind terrace machine.name machine.processor");
  EXPECT_EQ(document.value("schema", 0), 1);
  EXPECT_EQ(document.value("kind", ""), verb);
}

/// `keys` with each of `parts` before it.
Keys under(const std::vector<std::string>& parts, const Keys& keys) {
  Keys all;
  for (const std::string& part : parts)
    for (const std::string& key : split(keys, ' ')) all += part + "." + key + " ";
  return all;
}

const Keys kPhase =
    "n_tokens seconds predicted_seconds bound_seconds bound_by payload_bytes transferred_bytes written_bytes";
const Keys kPhases = under({"prefill", "decode"}, kPhase);
const Keys kMeasured = under({"prefill", "decode"}, "compute_seconds io_wait_seconds unaccounted_seconds");
const Keys kGenerated =
    "seed budget_bytes peak_bytes peak_source enforced output_ids load_seconds first_token_seconds budget_given "
    "predicted_peak_bytes unaccounted_bytes context " +
    kPhases + kMeasured;
const Keys kPlan =
    "smallest_budget_bytes budget_bytes predicted_peak_bytes tiers reserves arenas files kernels stream " +
    under({"placements"}, "value rows tier offset bytes birth death") +
    under({"bodies.steps"}, "id kind op unit kernel lane reads writes after bytes seconds") + kPhases;

struct Row {
  std::string verb;
  std::vector<std::string> args;  ///< MODEL, TEXT and OUT stand for files
  Keys keys;
  std::string input = "";  ///< standard input
};

const std::string kBoard = std::string(TERRACE_SOURCE_DIR) + "/machines/raspberry-pi-5.toml";

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"run",
       {"MODEL", "--prompt", "Once", "--max-tokens", "6", "--budget", testing::budget_of(64), "--enforce", "none"},
       kGenerated + "prompt_ids text threads io stop"},
      {"chat",
       {"MODEL", "--max-tokens", "6", "--enforce", "none"},
       kGenerated + under({"turns"}, "user text output_ids"),
       "Hello!\nAnd again?\n"},
      {"plan", {"MODEL", "--budget", testing::budget_of(64), "--ctx", "64"}, kPlan},
      {"plan",
       {"MODEL", "--machine", kBoard, "--ctx", "64", "--budget", testing::budget_of(64), "--out", "OUT"},
       kPlan},
      {"simulate",
       {"MODEL", "--machine", kBoard, "--ctx", "64", "--prompt-tokens", "16", "--max-tokens", "8"},
       under({"simulated"},
             "first_token_seconds predicted_peak_bytes " + kPhases + under({"joules"}, "known tier hop op_class"))},
      {"eval",
       {"MODEL", "--text", "TEXT", "--ctx", "64", "--chunks", "2"},
       "perplexity n_tokens stderr context chunks"},
      {"eval",
       {"MODEL", "--text", "TEXT", "--ctx", "64", "--chunks", "2", "--against-f32"},
       "perplexity n_tokens stderr context chunks perplexity_ratio kl_mean kl_p99 same_top reference_perplexity"},
      {"eval",
       {"MODEL", "--text", "TEXT", "--ctx", "64", "--chunks", "1", "--against", "MODEL"},
       "perplexity n_tokens stderr perplexity_ratio kl_mean kl_p99 same_top reference_perplexity"},
      {"logits", {"MODEL", "--text", "TEXT", "--ctx", "64", "--chunks", "2", "--out", "OUT"}, "out shape"},
      {"tokenize", {"MODEL"}, "ids pieces", "Once upon a time"},
      {"tokenize", {"MODEL", "--text", "TEXT"}, "ids pieces"},
      {"graph", {"MODEL", "--ctx", "64"}, "fingerprint n_values n_nodes text"},
      {"inspect", {"MODEL"}, "file file_bytes metadata " + under({"tensors"}, "name dtype layout shape offset bytes")},
      {"check-file", {"MODEL"}, "file sound n_tensors tensor_bytes findings"},
      {"topo", {"--machine", kBoard}, "text tree"},
      {"topo", {kBoard, "--out", "OUT"}, "text tree"},
      {"machine", {"check", kBoard}, "what sound"},
      {"machine", {"show", kBoard}, "what text"},
      {"machine", {"diff", kBoard, kBoard}, "what equal text"}};
  return all;
}

class Verbs : public ::testing::Test {
 protected:
  Verbs() {
    TinyLlama m;
    m.tied = false;
    write_tiny_llama(model_, m);
    std::ofstream text(folder_ / "text");
    for (int i = 0; i < 100; ++i) text << "Rice grew on step " << i << " of the terrace, year after year.\n";
  }
  std::vector<std::string> filled(const Row& row) const {
    std::vector<std::string> args = {testing::tool_path(), row.verb};
    for (const std::string& a : row.args)
      args.push_back(a == "MODEL" ? model_ : a == "TEXT" ? folder_ / "text" : a == "OUT" ? folder_ / "out-file" : a);
    return args;
  }
  /// With standard input, which testing::tool() leaves empty: a shell gives it and becomes the tool.
  Outcome run(const Row& row) const {
    const std::string input = folder_ / "input", document = folder_ / "document.json";
    std::ofstream(input) << row.input;
    std::filesystem::remove(document);
    std::vector<std::string> args = filled(row);
    args.insert(args.end(), {"--json", document});
    args.insert(args.begin(), {"/bin/sh", "-c", "exec \"$@\" < '" + input + "'", "sh"});
    Outcome o = testing::Process(folder_, args).wait();
    o.json = nlohmann::json::parse(testing::slurp(document), nullptr, false);
    return o;
  }
  const TemporaryFolder folder_;
  const std::string model_ = folder_ / "m.gguf";
};

TEST_F(Verbs, EndWellWithTheKeysThatArePromised) {
  for (const Row& row : rows()) {
    std::string line = row.verb;
    for (const std::string& a : row.args) line += " " + a;
    SCOPED_TRACE(line);
    std::filesystem::remove(folder_ / "out-file");
    const Outcome o = run(row);
    EXPECT_EQ(o.code, 0) << o.err;
    expect_head(o.json, row.verb);
    if (!o.json.is_object()) continue;
    expect_keys(o.json, row.keys);
    for (const std::string& a : row.args)
      if (a == "OUT") { EXPECT_GT(testing::slurp(folder_ / "out-file").size(), 100u); }
    if (row.verb == "chat") { EXPECT_EQ(o.json["turns"].size(), 2u); }
    if (row.verb == "check-file") {
      EXPECT_EQ(o.json["sound"], true);
      EXPECT_TRUE(o.json["findings"].empty());
    }
    if (row.verb == "machine" && o.json.contains("equal")) { EXPECT_EQ(o.json["equal"], true); }
    if (row.verb == "tokenize") { EXPECT_GT(o.json["ids"].size(), 2u); }
  }
}

TEST_F(Verbs, TheDocumentAloneOnStandardOutput) {
  for (const Row& row : rows()) {
    if (row.verb != "inspect" && row.verb != "plan" && row.verb != "run") continue;
    std::vector<std::string> args = filled(row);
    args.insert(args.end(), {"--json", "-"});
    const Outcome o = testing::Process(folder_, args).wait();
    EXPECT_EQ(o.code, 0) << row.verb << ": " << o.err;
    expect_head(nlohmann::json::parse(o.out, nullptr, false), row.verb);
  }
}

TEST_F(Verbs, CheckFileSaysWhatIsMissing) {
  const u64 size = std::filesystem::file_size(model_);
  for (const u64 left : {size - 1, size / 2, u64{1000}}) {
    SCOPED_TRACE(left);
    std::filesystem::resize_file(model_, left);
    const Outcome o = tool(folder_, {"check-file", model_});
    EXPECT_EQ(o.code, 4) << o.err;
    expect_head(o.json, "check-file");
    ASSERT_TRUE(o.json.is_object());
    expect_keys(o.json, "file sound n_tensors tensor_bytes findings.tensor findings.offset findings.what");
    EXPECT_EQ(o.json["sound"], false);
    EXPECT_GE(o.json["findings"].size(), 1u);
  }
}

TEST_F(Verbs, InterruptedIs130) {
  TinyLlama m;
  m.context = 4096;
  write_tiny_llama(model_, m);
  const std::string id = folder_ / "id", document = folder_ / "document.json";
  testing::Process p(folder_,
                     {testing::tool_path(), "run", model_, "--prompt", "x", "--ctx", "4096", "--max-tokens", "4000",
                      "--ignore-eos", "--enforce", "none", "--json", document},
                     [&] { std::ofstream(id) << ::getpid(); });
  for (int i = 0; i < 1000 && p.running() && p.output_so_far().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_TRUE(p.running()) << p.wait().err;
  ASSERT_EQ(::kill(static_cast<pid_t>(std::stol(testing::slurp(id))), SIGINT), 0);
  const Outcome o = p.wait();
  EXPECT_EQ(o.code, 130) << o.err;
  const auto document_json = nlohmann::json::parse(testing::slurp(document), nullptr, false);
  expect_head(document_json, "run");
  EXPECT_EQ(document_json.value("stop", ""), "cancelled");
  EXPECT_LT(document_json["output_ids"].size(), 4000u);
}

}  // namespace
}  // namespace terrace
