// Recomputed activations: the same bits, in less memory.
#include "terrace/passes/recompute.h"

#include <gtest/gtest.h>

#include <cstring>

#include "support/planning.h"
#include "terrace/nn/gpt.h"
#include "terrace/ops/ops.h"
#include "terrace/passes/fuse.h"
#include "terrace/program/trainer.h"

namespace terrace {
namespace {

struct Outcome {
  std::vector<float> numbers;  ///< losses, then all parameters
  Bytes region;
  int copies = 0;
};

/// Three steps of a GPT, fused or not, with or without the pass.
Outcome train(bool recomputes, bool fuses, bool biases, i64 parts) {
  nn::GptConfig config;
  config.vocabulary = 11;
  config.context = 16;
  config.width = 32;
  config.heads = 2;
  config.layers = 4;
  config.biases = biases;
  GraphBuilder b;
  const TensorSpec window{DType::i32, Layout::dense, {Dim(4), Dim(16)}};
  const ValueId step = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
  nn::Gpt model(b, config);
  std::vector<nn::Parameter> parameters = model.parameters();
  std::vector<ValueId> inputs;
  for (i64 i = 0; i < 2 * parts; ++i) inputs.push_back(b.input("in" + std::to_string(i), window));
  nn::Update update = nn::add_adamw(b,
                                    [&](i64 part) {
                                      const auto i = static_cast<std::size_t>(2 * part);
                                      return model.loss(inputs[i], inputs[i + 1], step, true);
                                    },
                                    parts, parameters, step, {});
  b.output(update.loss);
  std::vector<std::string> without;
  if (!recomputes) without.push_back("recompute");
  if (!fuses) without.insert(without.end(), {"residual_norm", "bias_activation", "adamw"});
  passes::Rewritten r = passes::fuse(b.finish(), without, update.changed);
  update = nn::renumbered(update, r.value);
  parameters = nn::renumbered(parameters, r.value);
  for (ValueId& v : inputs) v = r.value[v];
  Outcome o;
  for (const Value& v : r.graph.values()) o.copies += v.name.ends_with(".again");
  TrainerOptions options;
  options.isa = best_isa();
  options.threads = 2;
  Trainer trainer(std::move(r.graph), update, parameters, testing::small_machine(64), options);
  trainer.start(1);
  o.region = trainer.region_bytes();
  for (u64 s = 0; s < 3; ++s) {
    std::vector<std::vector<i32>> ids;
    for (std::size_t i = 0; i < inputs.size(); ++i) ids.push_back(testing::random_ids(64, 11, s * 10 + i));
    std::vector<InputBinding> in;
    for (std::size_t i = 0; i < inputs.size(); ++i) in.push_back({inputs[i], std::as_bytes(std::span(ids[i]))});
    o.numbers.push_back(trainer.step(in));
  }
  for (const nn::Parameter& p : parameters)
    for (float x : trainer.values(p.value)) o.numbers.push_back(x);
  return o;
}

TEST(Recompute, SameBitsInLessMemory) {
  for (const bool fuses : {false, true})
    for (const bool biases : {false, true})
      for (const i64 parts : {1, 2}) {
        SCOPED_TRACE(std::to_string(fuses) + std::to_string(biases) + std::to_string(parts));
        const Outcome kept = train(false, fuses, biases, parts), again = train(true, fuses, biases, parts);
        ASSERT_EQ(kept.numbers.size(), again.numbers.size());
        EXPECT_EQ(std::memcmp(kept.numbers.data(), again.numbers.data(), 4 * kept.numbers.size()), 0);
        EXPECT_GE(again.copies, 6 * parts);
        EXPECT_LT(again.region.count, kept.region.count * 9 / 10);
      }
}

TEST(Recompute, LeavesWhatIsAskedForAndWhatIsReadAtOnce) {
  GraphBuilder b;
  const ValueId x = b.input("x", {DType::f32, Layout::dense, {Dim(4), Dim(4)}});
  const ValueId y = b.call(ops::gelu, {x});
  ValueId z = b.call(ops::add, {x, y});
  for (int i = 0; i < 40; ++i) z = b.call(ops::relu, {z});
  const ValueId late = b.call(ops::mul, {y, z});
  b.output(b.call(ops::add, {late, x}));
  const Graph g = b.finish();
  const auto nodes = g.nodes().size();
  EXPECT_EQ(passes::fuse(g, {}, {}).graph.nodes().size(), nodes + 1);
  EXPECT_EQ(passes::fuse(g, {}, std::vector<ValueId>{y}).graph.nodes().size(), nodes);
}

}  // namespace
}  // namespace terrace
