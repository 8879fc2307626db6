// The llama architecture in training: against the graph of inference, against differences, against merged matrices.
#include "terrace/nn/llama_training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "engine/gradient_check.h"
#include "terrace/core/error.h"
#include "terrace/kernels/reference/element.h"

namespace terrace {
namespace {

nn::LlamaConfig tiny() {
  nn::LlamaConfig c;
  c.layers = 2;
  c.width = 32;
  c.ffn = 64;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 8;
  c.rope_dims = 6;
  c.vocabulary = 13;
  c.context = 16;
  return c;
}

using Specs = std::map<std::string, TensorSpec, std::less<>>;

/// The tensors of a model whose matrices have these formats in turn.
Specs specs_of(const nn::LlamaConfig& c, const std::vector<Format>& formats, bool tied = true) {
  Specs s;
  std::size_t turn = 0;
  const auto matrix = [&](const std::string& name, i64 rows, i64 columns) {
    const Format f = formats[turn++ % formats.size()];
    s[name] = {f.dtype, f.layout, {Dim(rows), Dim(columns)}};
  };
  const auto norm = [&](const std::string& name) { s[name] = {DType::f32, Layout::dense, {Dim(c.width)}}; };
  matrix("token_embd.weight", c.vocabulary, c.width);
  if (!tied) matrix("output.weight", c.vocabulary, c.width);
  norm("output_norm.weight");
  for (i64 i = 0; i < c.layers; ++i) {
    const std::string p = "blk." + std::to_string(i) + ".";
    norm(p + "attn_norm.weight");
    norm(p + "ffn_norm.weight");
    matrix(p + "attn_q.weight", c.heads * c.head_dim, c.width);
    matrix(p + "attn_k.weight", c.kv_heads * c.head_dim, c.width);
    matrix(p + "attn_v.weight", c.kv_heads * c.head_dim, c.width);
    matrix(p + "attn_output.weight", c.width, c.heads * c.head_dim);
    matrix(p + "ffn_gate.weight", c.ffn, c.width);
    matrix(p + "ffn_up.weight", c.ffn, c.width);
    matrix(p + "ffn_down.weight", c.width, c.ffn);
  }
  return s;
}
const std::vector<Format> kPacked = {{DType::f32, Layout::q8_0},
                                     {DType::f32, Layout::q4_1},
                                     {DType::f32, Layout::q4_0},
                                     {DType::f16, Layout::dense},
                                     {DType::f32, Layout::dense}};

nn::SpecOf lookup(const Specs& s) {
  return [&s](std::string_view name) -> const TensorSpec* {
    const auto it = s.find(name);
    return it == s.end() ? nullptr : &it->second;
  };
}

/// The same bytes for the same name.
std::vector<std::byte> bytes_of(const std::string& name, const TensorSpec& spec) {
  return testing::random_weight(spec, std::hash<std::string>{}(name) % 100000);
}

std::vector<float> floats_of(const std::string& name, const TensorSpec& spec) {
  const std::vector<std::byte> bytes = bytes_of(name, spec);
  const TensorView v = make_view(spec, const_cast<std::byte*>(bytes.data()), {});
  std::vector<float> f;
  for (i64 r = 0; r < rows_of(v); ++r)
    for (i64 c = 0; c < columns_of(v); ++c) f.push_back(static_cast<float>(reference::element(v, r, c)));
  return f;
}

std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> f(bytes.size() / 4);
  std::memcpy(f.data(), bytes.data(), bytes.size());
  return f;
}

/// What an adapter begins with in these tests: neither half is zero.
std::vector<float> adapter_of(const nn::Parameter& p, std::size_t n) {
  std::vector<float> f(n);
  nn::initialize({p.name, p.value, 0.2, 0, true}, 1, f);
  return f;
}

/// Logits of one window by the interpreter; `adapted`: adapters are not zero.
std::vector<float> training_logits(const Specs& specs, const std::optional<nn::Lora>& lora, bool adapted,
                                   const std::vector<i32>& tokens,
                                   const std::map<std::string, std::vector<float>>& full) {
  GraphBuilder b;
  nn::TrainableLlama model(b, tiny(), lora, lookup(specs));
  const ValueId ids = b.input("ids", testing::i32_spec({Dim(1), Dim(static_cast<i64>(tokens.size()))}));
  const ValueId logits = model.logits(ids);
  b.output(logits);
  const Graph g = b.finish();
  KernelTable kernels;
  register_reference(kernels);
  Interpreter run(g, kernels, [&](ValueId v) { return bytes_of(g.value(v).name, g.value(v).spec); });
  for (const nn::Parameter& p : model.parameters()) {
    const std::span<std::byte> to = run.state(p.value);
    std::vector<float> f(to.size() / 4, 0);
    if (!lora)
      f = full.at(p.name);
    else if (adapted)
      f = adapter_of(p, f.size());
    std::memcpy(to.data(), f.data(), to.size());
  }
  const InputBinding in{ids, std::as_bytes(std::span(tokens))};
  run.run({{}, {&in, 1}});
  return floats(run.bytes(logits));
}

void expect_near(const std::vector<float>& a, const std::vector<float>& b, double bound) {
  ASSERT_EQ(a.size(), b.size());
  float most = 0;
  for (float x : b) most = std::max(most, std::fabs(x));
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound * static_cast<double>(most)) << i;
}

const std::vector<i32> kTokens = {3, 1, 12, 7, 7, 0, 2, 5};

std::map<std::string, std::vector<float>> dequantized(const Specs& specs) {
  std::map<std::string, std::vector<float>> all;
  for (const auto& [name, spec] : specs) all[name] = floats_of(name, spec);
  return all;
}

TEST(TrainableLlama, LogitsAreThoseOfInference) {
  for (const bool tied : {true, false}) {
    const Specs specs = specs_of(tiny(), kPacked, tied);
    nn::LlamaOptions o;
    o.context = tiny().context;
    o.max_tokens = o.context;
    o.kv_dtype = DType::f32;
    o.quantize_activations = false;
    o.logits = nn::Logits::all;
    const Graph g = nn::llama(tiny(), o, lookup(specs));
    KernelTable kernels;
    register_reference(kernels);
    Interpreter run(g, kernels, [&](ValueId v) { return bytes_of(g.value(v).name, g.value(v).spec); });
    const std::array<i64, 2> symbols = {static_cast<i64>(kTokens.size()), 0};
    const InputBinding in{*g.find_value("ids"), std::as_bytes(std::span(kTokens))};
    run.run({symbols, {&in, 1}});
    const std::vector<float> want = floats(run.bytes(g.outputs()[0]));
    expect_near(training_logits(specs, nn::Lora{}, false, kTokens, {}), want, 1e-5);
    expect_near(training_logits(specs, {}, false, kTokens, dequantized(specs)), want, 1e-5);
  }
}

TEST(TrainableLlama, AdaptersActAsMergedMatrices) {
  const Specs specs = specs_of(tiny(), kPacked);
  nn::Lora lora;
  lora.rank = 3;
  lora.alpha = 5;
  lora.targets = {"q", "k", "v", "o", "gate", "up", "down"};
  auto merged = dequantized(specs);
  for (const nn::LoraPlace& p : nn::lora_places(tiny(), lora)) {
    const auto size = [&](i64 n) { return static_cast<std::size_t>(n * lora.rank); };
    const auto a = adapter_of({p.weight + ".lora_a"}, size(p.columns)),
               b = adapter_of({p.weight + ".lora_b"}, size(p.rows));
    for (i64 r = 0; r < p.rows; ++r)
      for (i64 c = 0; c < p.columns; ++c)
        for (i64 t = 0; t < lora.rank; ++t)
          merged[p.weight][static_cast<std::size_t>(r * p.columns + c)] +=
              5.0f / 3 * b[static_cast<std::size_t>(r * lora.rank + t)] *
              a[static_cast<std::size_t>(t * p.columns + c)];
  }
  const auto adapted = training_logits(specs, lora, true, kTokens, {});
  expect_near(adapted, training_logits(specs, {}, false, kTokens, merged), 1e-4);
  const auto base = training_logits(specs, {}, false, kTokens, dequantized(specs));
  double apart = 0;
  for (std::size_t i = 0; i < base.size(); ++i)
    apart = std::max(apart, std::fabs(static_cast<double>(base[i] - adapted[i])));
  EXPECT_GT(apart, 0.1) << "adapters do nothing";
}

/// One layer, so that differences are soon taken.
nn::LlamaConfig tiniest() {
  nn::LlamaConfig c = tiny();
  c.layers = 1;
  c.ffn = 32;
  c.vocabulary = 5;
  return c;
}

TEST(TrainableLlama, GradientsOfAdaptersOnPackedWeights) {
  const Specs specs = specs_of(tiniest(), kPacked);
  nn::Lora lora;
  lora.rank = 1;
  lora.targets = {"q", "v", "down"};
  testing::GradientCheck c(3);
  nn::TrainableLlama model(c.b, tiniest(), lora, lookup(specs), DType::f64);
  for (const nn::Parameter& p : model.parameters()) c.wrt(p.value, 0.5);
  const ValueId ids = c.ids({Dim(2), Dim(3)}, 5), targets = c.ids({Dim(2), Dim(3)}, 5);
  c.expect_gradient(model.loss(ids, targets, true), 1e-6, [](const Value& v) { return bytes_of(v.name, v.spec); });
}

TEST(TrainableLlama, GradientsOfAllParameters) {
  nn::LlamaConfig config = tiniest();
  config.width = config.ffn = 8;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = config.rope_dims = 4;
  for (const bool tied : {true, false}) {
    const Specs specs = specs_of(config, {{DType::f32, Layout::dense}}, tied);
    testing::GradientCheck c(4);
    nn::TrainableLlama model(c.b, config, {}, lookup(specs), DType::f64);
    EXPECT_EQ(model.parameters().size(), specs.size());
    for (const nn::Parameter& p : model.parameters()) c.wrt(p.value, 0.7);
    c.expect_gradient(model.logits(c.ids({Dim(2), Dim(4)}, 5)));
  }
}

TEST(TrainableLlama, RefusesWhatCannotBeAdapted) {
  const Specs specs = specs_of(tiny(), kPacked);
  const auto message = [&](nn::Lora lora) {
    try {
      GraphBuilder b;
      nn::TrainableLlama(b, tiny(), lora, lookup(specs));
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return e.where() + ": " + e.message() + "; " + e.hint();
    }
    return std::string("built");
  };
  EXPECT_NE(message({8, 16, {"q", "w"}}).find("\"w\""), std::string::npos);
  EXPECT_NE(message({8, 16, {"q", "w"}}).find("gate"), std::string::npos) << "says what there is";
  EXPECT_NE(message({8, 16, {"v", "q", "v"}}).find("twice"), std::string::npos);
  EXPECT_NE(message({8, 16, {}}).find("no matrix"), std::string::npos);
  EXPECT_NE(message({17, 16, {"q", "k"}}).find("1..16"), std::string::npos) << "k has 16 rows";
  EXPECT_NE(message({0, 16, {"q"}}).find("lora.rank"), std::string::npos);
  EXPECT_EQ(message({32, 16, {"q"}}), "built");
}

}  // namespace
}  // namespace terrace
