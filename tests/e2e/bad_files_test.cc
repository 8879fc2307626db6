// Models that are wrong in one way each, and the message of each. What is wrong with the container alone stands in
// tests/io/gguf_test.cc, machine files in tests/machine/bad_files_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "support/gguf_writer.h"
#include "support/memory_file.h"
#include "support/tool.h"
#include "terrace/core/error.h"
#include "terrace/io/tokenizer.h"
#include "terrace/program/model.h"

namespace terrace {
namespace {

using test::GgufWriter;
using testing::Outcome;
using testing::TemporaryFolder;

/// A model of one layer and nine tokens, whose keys and tensors can be changed before it is written.
class ModelFile {
 public:
  using Put = std::function<void(GgufWriter&, const std::string& key)>;
  struct Tensor {
    std::vector<u64> shape;  ///< outermost first
    test::GgmlType type = test::kF32;
  };

  ModelFile() {
    keys_["general.architecture"] = text("llama");
    size("block_count", 1), size("embedding_length", 32), size("feed_forward_length", 64);
    size("attention.head_count", 2), size("attention.head_count_kv", 1), size("context_length", 64);
    keys_["llama.attention.layer_norm_rms_epsilon"] = real(1e-5f);
    keys_["tokenizer.ggml.model"] = text("gpt2");
    keys_["tokenizer.ggml.pre"] = text("smollm");
    keys_["tokenizer.ggml.tokens"] = texts({"a", "b", "c", "ab", "abc", "x", "<s>", "</s>", "<0x-1>"});
    keys_["tokenizer.ggml.token_type"] = numbers({1, 1, 1, 1, 1, 1, 3, 3, 6});
    keys_["tokenizer.ggml.merges"] = texts({"a b", "ab c"});
    keys_["tokenizer.ggml.eos_token_id"] = count(7);
    tensors_["token_embd.weight"] = {{9, 32}};
    for (const char* name : {"attn_q", "attn_output"}) layer(name) = {{32, 32}};
    for (const char* name : {"attn_k", "attn_v"}) layer(name) = {{16, 32}};
    for (const char* name : {"ffn_gate", "ffn_up"}) layer(name) = {{64, 32}};
    layer("ffn_down") = {{32, 64}};
    for (const char* name : {"attn_norm", "ffn_norm"}) layer(name) = {{32}};
    tensors_["output_norm.weight"] = {{32}};
  }

  static Put text(std::string s) {
    return [s](GgufWriter& w, const std::string& k) { w.kv_string(k, s); };
  }
  static Put texts(std::vector<std::string> s) {
    return [s](GgufWriter& w, const std::string& k) { w.kv_strings(k, s); };
  }
  static Put numbers(std::vector<std::int32_t> n) {
    return [n](GgufWriter& w, const std::string& k) { w.kv_i32s(k, n); };
  }
  static Put count(u32 n) {
    return [n](GgufWriter& w, const std::string& k) { w.kv_u32(k, n); };
  }
  static Put integer(i32 n) {
    return [n](GgufWriter& w, const std::string& k) { w.kv_i32(k, n); };
  }
  static Put real(float x) {
    return [x](GgufWriter& w, const std::string& k) { w.kv_f32(k, x); };
  }

  void set(const std::string& key, Put put) { keys_[key] = std::move(put); }
  void size(const std::string& key, u32 n) { keys_["llama." + key] = count(n); }
  void drop(const std::string& key) { ASSERT_EQ(keys_.erase(key), 1u) << key; }
  Tensor& layer(const std::string& name) { return tensors_["blk.0." + name + ".weight"]; }
  Tensor& tensor(const std::string& name) { return tensors_[name]; }
  void drop_tensor(const std::string& name) { ASSERT_EQ(tensors_.erase(name), 1u) << name; }

  void save(const std::string& path) const { written().save(path); }
  std::vector<std::byte> bytes() const { return written().bytes(); }

 private:
  GgufWriter written() const {
    GgufWriter w;
    for (const auto& [key, put] : keys_) put(w, key);
    for (const auto& [name, t] : tensors_) {
      u64 bytes = t.type == test::kF16 ? 2 : 4;
      for (const u64 n : t.shape) bytes *= n;
      w.tensor(name, t.shape, t.type, std::vector<std::byte>(bytes));
    }
    return w;
  }

  std::map<std::string, Put> keys_;
  std::map<std::string, Tensor> tensors_;
};

struct BadModel {
  const char* expected;  ///< part of the message, which begins with the file
  std::function<void(ModelFile&)> make;
};

using M = ModelFile;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

const std::vector<BadModel> kConfigurations = {
    {"has no general.architecture", [](M& m) { m.drop("general.architecture"); }},
    {"key 'general.architecture': is of type u32, expected a string",
     [](M& m) { m.set("general.architecture", M::count(1)); }},
    {"architecture \"mamba\" is not supported", [](M& m) { m.set("general.architecture", M::text("mamba")); }},
    {"llama.block_count is missing", [](M& m) { m.drop("llama.block_count"); }},
    {"llama.block_count is 0, not in 1..4096", [](M& m) { m.size("block_count", 0); }},
    {"llama.block_count is 4294967295, not in", [](M& m) { m.size("block_count", ~u32{0}); }},
    {"blk.1.attn_norm.weight the model has no such tensor", [](M& m) { m.size("block_count", 2); }},
    {"blk.1.attn_norm.weight the model has no such tensor", [](M& m) { m.size("block_count", 4096); }},
    {"key 'llama.block_count': is of type i32, expected an integer that is not negative",
     [](M& m) { m.set("llama.block_count", M::integer(-1)); }},
    {"key 'llama.block_count': is of type f32", [](M& m) { m.set("llama.block_count", M::real(1)); }},
    {"llama.embedding_length is 2147483648, not in 1..1048576", [](M& m) { m.size("embedding_length", u32{1} << 31); }},
    {"token_embd.weight is f32[9, 32], the model's configuration needs f32[9, 64]",
     [](M& m) { m.size("embedding_length", 64); }},
    {"llama.feed_forward_length is missing", [](M& m) { m.drop("llama.feed_forward_length"); }},
    {"blk.0.ffn_gate.weight is f32[64, 32], the model's configuration needs f32[65, 32]",
     [](M& m) { m.size("feed_forward_length", 65); }},
    {"llama.attention.head_count is 0, not in 1..4096", [](M& m) { m.size("attention.head_count", 0); }},
    {"llama.attention.head_count is 1000000, not in", [](M& m) { m.size("attention.head_count", 1000000); }},
    {"llama.attention.head_count is more than embedding_length", [](M& m) { m.size("attention.head_count", 4096); }},
    {"llama.attention.head_count_kv does not divide", [](M& m) { m.size("attention.head_count_kv", 3); }},
    {"llama.attention.key_length is 4294967295", [](M& m) { m.size("attention.key_length", ~u32{0}); }},
    {"llama.attention.value_length differs", [](M& m) { m.size("attention.value_length", 8); }},
    {"llama.context_length is 0, not in", [](M& m) { m.size("context_length", 0); }},
    {"llama.context_length is 4294967295, not in", [](M& m) { m.size("context_length", ~u32{0}); }},
    {"llama.rope.dimension_count is odd or above", [](M& m) { m.size("rope.dimension_count", 15); }},
    {"llama.rope.dimension_count is odd or above", [](M& m) { m.size("rope.dimension_count", 18); }},
    {"llama.rope.freq_base is no positive number", [](M& m) { m.set("llama.rope.freq_base", M::real(kInf)); }},
    {"layer_norm_rms_epsilon is no positive number",
     [](M& m) { m.set("llama.attention.layer_norm_rms_epsilon", M::real(kNan)); }},
    {"layer_norm_rms_epsilon is no positive number",
     [](M& m) { m.set("llama.attention.layer_norm_rms_epsilon", M::real(-1)); }},
    {"RoPE scaling is not supported", [](M& m) { m.set("llama.rope.scaling.type", M::text("yarn")); }},
    {"a mixture of experts is not supported", [](M& m) { m.size("expert_count", 8); }},
};

const std::vector<BadModel> kTensors = {
    {"has no matrix token_embd.weight", [](M& m) { m.drop_tensor("token_embd.weight"); }},
    {"has no matrix token_embd.weight", [](M& m) { m.tensor("token_embd.weight").shape = {9 * 32}; }},
    {"blk.0.attn_q.weight the model has no such tensor", [](M& m) { m.drop_tensor("blk.0.attn_q.weight"); }},
    {"blk.0.attn_k.weight is f32[32, 32], the model's configuration needs f32[16, 32]",
     [](M& m) {
       m.layer("attn_k").shape = {32, 32};
     }},
    {"blk.0.ffn_down.weight is f32[64, 32], the model's configuration needs f32[32, 64]",
     [](M& m) {
       m.layer("ffn_down").shape = {64, 32};
     }},
    {"blk.0.attn_norm.weight norm weights must be F32", [](M& m) { m.layer("attn_norm").type = test::kF16; }},
    {"output_norm.weight is f32[33]", [](M& m) { m.tensor("output_norm.weight").shape = {33}; }},
    {"output.weight is f32[8, 32], the model's configuration needs f32[9, 32]",
     [](M& m) {
       m.tensor("output.weight") = {{8, 32}};
     }},
    {"rope_freqs.weight (scaled RoPE) is not supported", [](M& m) { m.tensor("rope_freqs.weight") = {{8}}; }},
};

const std::vector<BadModel> kTokenizers = {
    {"key 'tokenizer.ggml.tokens': is not an array of strings",
     [](M& m) {
       m.set("tokenizer.ggml.tokens", M::numbers({1, 2}));
     }},
    {"key 'tokenizer.ggml.tokens': is not an array of strings",
     [](M& m) { m.set("tokenizer.ggml.tokens", M::text("a")); }},
    {"key 'tokenizer.ggml.tokens': 0 tokens in 0 bytes cannot be used",
     [](M& m) { m.set("tokenizer.ggml.tokens", M::texts({})); }},
    {"key 'tokenizer.ggml.token_type': has 8 elements, tokenizer.ggml.tokens has 9",
     [](M& m) {
       m.set("tokenizer.ggml.token_type", M::numbers({1, 1, 1, 1, 1, 1, 3, 3}));
     }},
    {"key 'tokenizer.ggml.token_type': element 8 is -1, no type of a token",
     [](M& m) {
       m.set("tokenizer.ggml.token_type", M::numbers({1, 1, 1, 1, 1, 1, 3, 3, -1}));
     }},
    {"key 'tokenizer.ggml.token_type': is of type array, expected an array of numbers",
     [](M& m) { m.set("tokenizer.ggml.token_type", M::texts(std::vector<std::string>(9))); }},
    {"key 'tokenizer.ggml.token_type': element 0 is nan",
     [](M& m) {
       m.set("tokenizer.ggml.token_type",
             [](GgufWriter& w, const std::string& k) { w.kv_f32s(k, std::vector<float>(9, kNan)); });
     }},
    {"key 'tokenizer.ggml.merges': is not an array of strings",
     [](M& m) { m.set("tokenizer.ggml.merges", M::numbers({0})); }},
    {"key 'tokenizer.ggml.merges': element 1 names a token that does not exist",
     [](M& m) {
       m.set("tokenizer.ggml.merges", M::texts({"a b", "ab q"}));
     }},
    {"key 'tokenizer.ggml.merges': element 0 is not two tokens with a space between",
     [](M& m) { m.set("tokenizer.ggml.merges", M::texts({" a"})); }},
    {"key 'tokenizer.ggml.eos_token_id': token 9 is not among the 9 tokens",
     [](M& m) { m.set("tokenizer.ggml.eos_token_id", M::count(9)); }},
    {"key 'tokenizer.ggml.eos_token_id': is of type i32, expected an integer that is not negative",
     [](M& m) { m.set("tokenizer.ggml.eos_token_id", M::integer(-1)); }},
    {"key 'tokenizer.ggml.bos_token_id': token 4294967295 is not among the 9 tokens",
     [](M& m) { m.set("tokenizer.ggml.bos_token_id", M::count(~u32{0})); }},
    {"key 'tokenizer.ggml.bos_token_id': is of type string, expected an integer",
     [](M& m) { m.set("tokenizer.ggml.bos_token_id", M::text("<s>")); }},
    {"key 'tokenizer.ggml.add_bos_token': is of type u32, expected a bool",
     [](M& m) {
       m.set("tokenizer.ggml.bos_token_id", M::count(6));
       m.set("tokenizer.ggml.add_bos_token", M::count(1));
     }},
    {"key 'tokenizer.ggml.model': is of type string, expected a string of at most 65536 bytes",
     [](M& m) { m.set("tokenizer.ggml.model", M::text(std::string(70000, 'g'))); }},
    {"key 'tokenizer.ggml.model': tokenizer '?[2J' is not supported",
     [](M& m) { m.set("tokenizer.ggml.model", M::text("\x1b[2J")); }},
    {"key 'tokenizer.ggml.pre': is of type f32, expected a string",
     [](M& m) { m.set("tokenizer.ggml.pre", M::real(0)); }},
};

/// What the tool builds of a model before it plans; the message of what goes wrong.
std::string refusal(const std::string& path) {
  try {
    const Model m = open_model(path);
    const io::Tokenizer t(m.file);
    nn::LlamaOptions o;
    o.context = 16;
    o.max_tokens = 8;
    build_graph(m, o);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
    EXPECT_TRUE(e.where().starts_with(path)) << e.what();
    return e.what();
  }
  return "accepted";
}

TEST(BadFiles, ModelsAreRefusedWithTheirMessages) {
  const TemporaryFolder folder;
  const std::string path = folder / "m.gguf";
  ModelFile().save(path);
  ASSERT_EQ(refusal(path), "accepted");
  for (const auto* table : {&kConfigurations, &kTensors, &kTokenizers}) {
    for (const BadModel& bad : *table) {
      ModelFile m;
      bad.make(m);
      m.save(path);
      const std::string message = refusal(path);
      EXPECT_NE(message.find(bad.expected), std::string::npos) << message << "\nexpected: " << bad.expected;
    }
  }
}

TEST(BadFiles, CutAtEveryByteAndWithEveryBitTurned) {
  const std::vector<std::byte> whole = ModelFile().bytes();
  const test::MemoryFile file(whole);
  const u64 header = io::GgufFile(file.path()).data_offset();
  int accepted = 0;
  for (std::size_t i = 0; i < header; ++i) {
    file.set(std::span(whole).first(i));
    EXPECT_NE(refusal(file.path()), "accepted") << "cut at byte " << i;
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> turned = whole;
      turned[i] ^= static_cast<std::byte>(1 << bit);
      file.set(turned);
      accepted += refusal(file.path()) == "accepted";
    }
  }
  // Some bits matter to nobody: the text of a token, say.
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, static_cast<int>(header));
}

TEST(BadFiles, NamesOfBytesAreTextLikeAnyOther) {
  const TemporaryFolder folder;
  const std::string path = folder / "m.gguf";
  ModelFile().save(path);
  const io::GgufFile file(path);
  const io::Tokenizer t(file);
  EXPECT_EQ(t.piece(8), "<0x-1>");
  EXPECT_EQ(t.encode("abc\xFF<0x-1>", true), (std::vector<i32>{4, 5}));  // "x" has a token; the rest has none
}

/// A template's refusal comes when it is used.
TEST(BadFiles, Templates) {
  const auto refused = [](std::optional<std::string> text) {
    try {
      return io::render_chat(text, {{"user", "x"}});
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      return std::string(e.what());
    }
  };
  EXPECT_NE(refused(std::nullopt).find("the model has no chat template"), std::string::npos);
  EXPECT_NE(refused("").find("an unknown family"), std::string::npos);
  EXPECT_NE(refused("[INST]").find("Llama 2 or Mistral"), std::string::npos);
}

TEST(BadFiles, TheToolEndsWithFour) {
  const TemporaryFolder folder;
  const std::string path = folder / "m.gguf";
  const auto expect = [&](const char* what, std::vector<std::vector<std::string>> calls) {
    for (const std::vector<std::string>& args : calls) {
      const Outcome o = testing::tool(folder, args);
      EXPECT_EQ(o.code, 4) << args[0] << ": " << o.err;
      EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
      EXPECT_NE(o.err.find(path), std::string::npos) << o.err;
      EXPECT_EQ(o.out, "") << args[0];
    }
  };
  const std::vector<std::string> run = {"run", path, "--prompt", "abc", "--max-tokens", "4"}, plan = {"plan", path},
                                 graph = {"graph", path}, tokenize = {"tokenize", path}, inspect = {"inspect", path},
                                 check = {"check-file", path};
  ModelFile m;
  m.size("block_count", 4096);
  m.save(path);
  expect("blk.1.attn_norm.weight", {run, plan, graph});
  m = {}, m.set("tokenizer.ggml.eos_token_id", M::count(9));
  m.save(path);
  expect("token 9 is not among the 9 tokens", {run, tokenize});
  GgufWriter w;
  w.kv_u32("k", 1), w.kv_u32("k", 2);
  w.save(path);
  expect("key 'k' occurs twice", {run, plan, graph, tokenize, inspect, check});
  m = {};
  m.save(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  expect("at least 1 bytes are missing", {run, plan, graph, tokenize, inspect, check});
}

TEST(BadFiles, TheToolRefusesMachinesWithFour) {
  const TemporaryFolder folder;
  const std::string path = folder / "m.toml", model = folder / "m.gguf";
  ModelFile().save(model);
  const std::pair<std::string, const char*> all[] = {{"schema = 2\n", "this program reads schema 1"},
                                                     {std::string(2 << 20, '\0'), "longer than 1 MiB"}};
  for (const auto& [text, expected] : all) {
    std::ofstream(path) << text;
    for (const std::vector<std::string>& args : {std::vector<std::string>{"machine", "check", path},
                                                 {"topo", "--machine", path},
                                                 {"simulate", model, "--machine", path}}) {
      const Outcome o = testing::tool(folder, args);
      EXPECT_EQ(o.code, 4) << args[0] << ": " << o.err;
      EXPECT_NE(o.err.find(expected), std::string::npos) << o.err;
      EXPECT_NE(o.err.find(path), std::string::npos) << o.err;
    }
  }
}

/// Prompts that are no text, or none, or too long: an answer or an error of use, never of the program.
TEST(BadFiles, OddPrompts) {
  const TemporaryFolder folder;
  const std::string model = folder / "m.gguf", prompt = folder / "prompt";
  ModelFile().save(model);
  const auto run = [&](const std::string& text, std::vector<std::string> more = {}) {
    std::ofstream(prompt, std::ios::binary) << text;
    std::vector<std::string> args = {"run", model, "--prompt-file", prompt, "--enforce", "none", "--max-tokens", "4"};
    args.insert(args.end(), more.begin(), more.end());
    return testing::tool(folder, args);
  };
  const Outcome odd = run("abc\xFF\xFE\xC3 a\xED\xA0\x80", {"--ignore-eos"});
  EXPECT_EQ(odd.code, 0) << odd.err;
  EXPECT_EQ(odd.json["prompt_ids"], nlohmann::json::parse("[4,0]"));
  for (const std::string none : {"", "\xFF", "~"}) {
    const Outcome o = run(none);
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_NE(o.err.find("prompt"), std::string::npos) << o.err;
  }
  const std::string longer(100, 'a');
  const std::pair<std::vector<std::string>, const char*> beyond[] = {
      {{}, "a context of 104 tokens is beyond the model's 64"},
      {{"--ctx", "32"}, "a prompt of 100 tokens leaves no room in a context of 32"}};
  for (const auto& [flags, expected] : beyond) {
    const Outcome o = run(longer, flags);
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_NE(o.err.find(expected), std::string::npos) << o.err;
  }
}

}  // namespace
}  // namespace terrace
