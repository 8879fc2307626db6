#include "terrace/nn/llama.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "terrace/core/error.h"

namespace terrace {
namespace {

nn::LlamaConfig tiny() {
  nn::LlamaConfig c;
  c.layers = 2;
  c.width = 64;
  c.ffn = 96;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.rope_dims = 16;
  c.vocabulary = 100;
  c.context = 128;
  return c;
}

std::map<std::string, TensorSpec, std::less<>> weights(const nn::LlamaConfig& c, bool output) {
  std::map<std::string, TensorSpec, std::less<>> w;
  const auto q = [&](const std::string& name, i64 r, i64 k) { w[name] = {DType::f32, Layout::q4_0, {Dim(r), Dim(k)}}; };
  const auto f = [&](const std::string& name, i64 k) { w[name] = {DType::f32, Layout::dense, {Dim(k)}}; };
  q("token_embd.weight", c.vocabulary, c.width);
  if (output) q("output.weight", c.vocabulary, c.width);
  f("output_norm.weight", c.width);
  for (i64 i = 0; i < c.layers; ++i) {
    const std::string p = "blk." + std::to_string(i) + ".";
    f(p + "attn_norm.weight", c.width);
    f(p + "ffn_norm.weight", c.width);
    q(p + "attn_q.weight", 64, c.width);
    q(p + "attn_k.weight", 32, c.width);
    q(p + "attn_v.weight", 32, c.width);
    q(p + "attn_output.weight", c.width, 64);
    q(p + "ffn_gate.weight", c.ffn, c.width);
    q(p + "ffn_up.weight", c.ffn, c.width);
    q(p + "ffn_down.weight", c.width, c.ffn);
  }
  return w;
}

Graph build(const nn::LlamaOptions& o, bool output = false,
            std::function<void(std::map<std::string, TensorSpec, std::less<>>&)> change = {}) {
  auto w = weights(tiny(), output);
  if (change) change(w);
  return nn::llama(tiny(), o, [&](std::string_view name) -> const TensorSpec* {
    const auto it = w.find(name);
    return it == w.end() ? nullptr : &it->second;
  });
}

nn::LlamaOptions options() {
  nn::LlamaOptions o;
  o.context = 32;
  o.max_tokens = 8;
  return o;
}

i64 count(const Graph& g, std::string_view op) {
  i64 n = 0;
  for (const Node& x : g.nodes()) n += x.op->name == op;
  return n;
}

TEST(Llama, HasTheNodesOfItsLayers) {
  const Graph g = build(options());
  EXPECT_EQ(count(g, "linear"), 2 * 7 + 1);
  EXPECT_EQ(count(g, "quantize"), 2 * 4 + 1);  // shared by q, k, v and by gate, up
  EXPECT_EQ(count(g, "rope_angles"), 1);
  EXPECT_EQ(count(g, "append_rows"), 2 * 2);
  EXPECT_EQ(to_string(g.value(g.outputs()[0]).spec), "f32[1, 100]");
  // A tied output matrix is the embedding itself, not a second weight.
  EXPECT_FALSE(g.find_value("output.weight"));
  EXPECT_TRUE(build(options(), true).find_value("output.weight"));
}

TEST(Llama, FloatActivationsHaveNoQuantization) {
  nn::LlamaOptions o = options();
  o.quantize_activations = false;
  o.logits = nn::Logits::all;
  const Graph g = build(o);
  EXPECT_EQ(count(g, "quantize"), 0);
  EXPECT_EQ(count(g, "last_rows"), 0);
  EXPECT_EQ(to_string(g.value(g.outputs()[0]).spec), "f32[s0, 100]");
}

TEST(Llama, NamesATensorThatIsMissingOrOfAnotherShape) {
  for (const bool missing : {true, false}) {
    try {
      build(options(), false, [&](auto& w) {
        if (missing)
          w.erase("blk.1.ffn_up.weight");
        else
          w["blk.1.ffn_up.weight"].shape = {Dim(95), Dim(64)};
      });
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      EXPECT_EQ(e.where(), "blk.1.ffn_up.weight");
    }
  }
}

TEST(Llama, RefusesAContextBeyondTheModels) {
  nn::LlamaOptions o = options();
  o.context = 129;
  EXPECT_THROW(build(o), Error);
}

}  // namespace
}  // namespace terrace
