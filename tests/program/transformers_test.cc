// Whole models: their gradients, and the two ways to compute attention.
#include <gtest/gtest.h>

#include "engine/gradient_check.h"
#include "terrace/core/error.h"
#include "terrace/nn/bert.h"
#include "terrace/nn/gpt.h"
#include "terrace/ops/ops.h"

namespace terrace {
namespace {

constexpr i64 kVocabulary = 5;

nn::GptConfig tiny_gpt(nn::AttentionKind attention) {
  nn::GptConfig c;
  c.vocabulary = kVocabulary;
  c.context = 5;
  c.width = 8;
  c.heads = 2;
  c.layers = 1;
  c.biases = true;
  c.attention = attention;
  c.dtype = DType::f64;
  return c;
}
nn::BertConfig tiny_bert(nn::AttentionKind attention) {
  nn::BertConfig c;
  c.vocabulary = kVocabulary;
  c.context = 5;
  c.width = 8;
  c.ffn = 12;
  c.heads = 2;
  c.layers = 1;
  c.attention = attention;
  c.dtype = DType::f64;
  return c;
}

template <class Model, class Config>
void expect_gradient(const Config& config) {
  testing::GradientCheck c(5);
  Model model(c.b, config);
  for (const nn::Parameter& p : model.parameters()) {
    const bool of_keys = p.name.ends_with("k.bias") || p.name.ends_with("key.bias");
    if (!of_keys) c.wrt(p.value, 1);  // these add the same to all scores of a row: nothing depends on them
  }
  const ValueId logits = model.logits(c.ids({Dim(2), Dim(4)}, kVocabulary));
  c.expect_gradient(c.b.apply(ops::cross_entropy, {logits, c.ids({Dim(2), Dim(4)}, kVocabulary)})[0]);
}

TEST(Gpt, GradientWithStandardAttention) { expect_gradient<nn::Gpt>(tiny_gpt(nn::AttentionKind::standard)); }
TEST(Bert, Gradient) { expect_gradient<nn::Bert>(tiny_bert(nn::AttentionKind::flash)); }
TEST(Bert, GradientWithStandardAttention) { expect_gradient<nn::Bert>(tiny_bert(nn::AttentionKind::standard)); }

/// Loss and gradients in float64, of all parameters in order.
template <class Model, class Config>
std::vector<double> loss_and_gradients(const Config& config) {
  GraphBuilder b;
  Model model(b, config);
  const TensorSpec spec{DType::i32, Layout::dense, {Dim(2), Dim(5)}};
  const ValueId ids = b.input("ids", spec), targets = b.input("targets", spec);
  const ValueId loss = model.loss(ids, targets, kNone, true);
  std::vector<ValueId> wrt;
  for (const nn::Parameter& p : model.parameters()) wrt.push_back(p.value);
  std::vector<ValueId> asked = gradients(b, loss, wrt);
  asked.push_back(loss);
  const Graph g = b.finish();
  KernelTable kernels;
  register_reference(kernels);
  Interpreter run(g, kernels, {});
  testing::Random random(7);
  for (ValueId v : wrt)
    for (u64 i = 0; i < run.state(v).size() / 8; ++i) {
      const double x = static_cast<double>(random.real());
      std::memcpy(run.state(v).data() + 8 * i, &x, 8);
    }
  const auto tokens = testing::random_ids(20, kVocabulary, 3);
  const InputBinding in[] = {{ids, std::as_bytes(std::span(tokens).first(10))},
                             {targets, std::as_bytes(std::span(tokens).last(10))}};
  run.run({{}, in});
  std::vector<double> all;
  for (ValueId v : asked) {
    const auto bytes = run.bytes(v);
    std::vector<double> x(bytes.size() / 8);
    std::memcpy(x.data(), bytes.data(), bytes.size());
    all.insert(all.end(), x.begin(), x.end());
  }
  return all;
}

void expect_equal(const std::vector<double>& flash, const std::vector<double>& standard) {
  ASSERT_EQ(flash.size(), standard.size());
  double norm = 0, error = 0;
  for (std::size_t i = 0; i < flash.size(); ++i) {
    norm += flash[i] * flash[i];
    error += (flash[i] - standard[i]) * (flash[i] - standard[i]);
  }
  EXPECT_GT(norm, 0.1);
  EXPECT_LE(std::sqrt(error), 1e-6 * std::sqrt(norm));  // flash keeps its log-sum-exp in f32
}

TEST(Attention, StandardIsFlash) {
  using nn::AttentionKind;
  expect_equal(loss_and_gradients<nn::Gpt>(tiny_gpt(AttentionKind::flash)),
               loss_and_gradients<nn::Gpt>(tiny_gpt(AttentionKind::standard)));
  expect_equal(loss_and_gradients<nn::Bert>(tiny_bert(AttentionKind::flash)),
               loss_and_gradients<nn::Bert>(tiny_bert(AttentionKind::standard)));
}

TEST(Bert, RefusesHeadsThatDoNotDivideTheWidth) {
  nn::BertConfig c = tiny_bert(nn::AttentionKind::flash);
  c.heads = 3;
  GraphBuilder b;
  EXPECT_THROW(nn::Bert(b, c), Error);
}

}  // namespace
}  // namespace terrace
