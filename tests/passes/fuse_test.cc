// Fusions over whole training graphs: the bits stay, what is asked for stays, and no state is read too late.
#include "terrace/passes/fuse.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/engine/interpreter.h"
#include "terrace/nn/gpt.h"
#include "terrace/ops/fused.h"
#include "terrace/ops/gradient.h"
#include "terrace/ops/ops.h"
#include "terrace/program/trainer.h"

namespace terrace {
namespace {

using Names = std::vector<std::string>;

/// A GPT with its optimizer, as it was built or after passes.
struct Model {
  Graph graph;
  nn::Update update;
  std::vector<nn::Parameter> parameters;
  std::vector<ValueId> inputs;  ///< ids and targets of all parts

  Model(double dropout, i64 parts, double clip, bool one_pass) {
    nn::GptConfig config;
    config.vocabulary = 11;
    config.context = 7;
    config.width = 24;
    config.heads = 2;
    config.layers = 2;
    config.biases = true;
    config.dropout = dropout;
    nn::AdamW adamw;
    adamw.rate = 1e-2;
    adamw.clip = clip;
    adamw.eps = 1e-3;  // so that gradients that are rounding errors alone move nothing
    adamw.one_pass = one_pass;
    GraphBuilder b;
    const TensorSpec ids{DType::i32, Layout::dense, {Dim(3), Dim(7)}};
    const ValueId step = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
    nn::Gpt model(b, config);
    parameters = model.parameters();
    for (i64 i = 0; i < 2 * parts; ++i) inputs.push_back(b.input("in" + std::to_string(i), ids));
    update = nn::add_adamw(
        b,
        [&](i64 part) {
          const auto i = static_cast<std::size_t>(2 * part);
          return model.loss(inputs[i], inputs[i + 1], step, true);
        },
        parts, parameters, step, adamw);
    b.output(update.loss);
    graph = b.finish();
  }
  /// By the passes that fuse.
  void fuse(Names without) {
    without.push_back("recompute");
    passes::Rewritten r = passes::fuse(graph, without, update.changed);
    update = nn::renumbered(update, r.value);
    parameters = nn::renumbered(parameters, r.value);
    for (ValueId& v : inputs) v = r.value[v];
    graph = std::move(r.graph);
  }
  std::map<std::string_view, int> count() const {
    std::map<std::string_view, int> n;
    for (const Node& node : graph.nodes()) ++n[node.op->name];
    return n;
  }
};

/// All losses and all that the states hold after three steps.
std::vector<float> train(Model model, Isa isa) {
  TrainerOptions options;
  options.isa = isa;
  options.threads = 2;
  Trainer trainer(std::move(model.graph), model.update, model.parameters, testing::small_machine(64), options);
  trainer.start(1);
  std::vector<float> all;
  for (u64 s = 0; s < 3; ++s) {
    std::vector<std::vector<i32>> tokens;
    std::vector<InputBinding> in;
    for (u64 i = 0; i < model.inputs.size(); ++i) tokens.push_back(testing::random_ids(21, 11, s * 97 + i));
    for (std::size_t i = 0; i < model.inputs.size(); ++i)
      in.push_back({model.inputs[i], std::as_bytes(std::span(tokens[i]))});
    all.push_back(trainer.step(in));
  }
  for (const auto* list : {&model.parameters, &model.update.moments})
    for (const nn::Parameter& p : *list) {
      const std::span<float> x = trainer.values(p.value);
      all.insert(all.end(), x.begin(), x.end());
    }
  return all;
}

TEST(Fuse, WithoutPassesTheGraphIsTheSame) {
  const Model m(0.1, 2, 1, false);
  const passes::Rewritten r = passes::fuse(m.graph, Names{"all"}, {});
  EXPECT_EQ(r.graph.fingerprint(), m.graph.fingerprint());
  EXPECT_EQ(to_text(r.graph), to_text(m.graph));
  for (ValueId v = 0; v < r.value.size(); ++v) EXPECT_EQ(r.value[v], v);
}

TEST(Fuse, FindsAllThereIs) {
  Model m(0, 1, 0, false);
  auto before = m.count();
  m.fuse({});
  auto after = m.count();
  const int layers = 2, parameters = static_cast<int>(m.parameters.size());
  EXPECT_EQ(after["add_layer_norm"], 2 * layers + 1);
  EXPECT_EQ(after["layer_norm"] + after["norm_stats"] + after["norm_grad"] - 1, 0) << "the last norm has no residual";
  EXPECT_EQ(after["norm_grad_add"], 2 * layers);
  EXPECT_EQ(after["bias_activation"], layers);
  EXPECT_EQ(after["bias_activation_grad"], layers);
  EXPECT_EQ(after["gelu"] + after["gelu_grad"], 0);
  EXPECT_EQ(after["add_row"], before["add_row"] - layers);
  EXPECT_EQ(after["adamw"], parameters);
  for (const char* part : {"rescale", "blend", "add_square", "root", "descend"}) EXPECT_EQ(after[part], 0) << part;
  // The values that a trainer asks for by name.
  for (const char* name : {"loss", "d_logits", "wte'", "h.0.ln_1.bias'.1", "step'"})
    EXPECT_TRUE(m.graph.find_value(name)) << name;
}

TEST(Fuse, BitsStay) {
  for (const Isa isa : {Isa::portable, best_isa()})
    for (const i64 parts : {1, 2}) {
      const double clip = parts == 2 ? 0.5 : 0, dropout = parts == 2 ? 0.2 : 0;
      Model fused(dropout, parts, clip, true);
      const std::vector<float> want = train(fused, isa);
      fused.fuse({});
      EXPECT_GT(fused.count()["add_layer_norm"], 0);
      const std::vector<float> got = train(fused, isa);
      ASSERT_EQ(got.size(), want.size());
      EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0) << name_of(isa) << " " << parts;
    }
}

TEST(Fuse, AdamWInPartsIsAdamW) {
  for (const double clip : {0.0, 0.5}) {
    Model parts(0, 1, clip, false);
    const Model whole(0, 1, clip, true);
    const std::vector<float> want = train(whole, best_isa()), in_parts = train(parts, best_isa());
    ASSERT_EQ(in_parts.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(in_parts[i], want[i], 1e-5 * std::max(1.0f, std::fabs(want[i]))) << i;
    EXPECT_NE(in_parts, want) << "it rounds elsewhere";
    parts.fuse({"residual_norm", "bias_activation"});
    EXPECT_EQ(parts.count(), whole.count());
    EXPECT_EQ(train(parts, best_isa()), want);
  }
}

TEST(Fuse, PassesAreLeftOutByName) {
  Model m(0, 1, 0, false);
  m.fuse({"adamw", "residual_norm"});
  auto n = m.count();
  EXPECT_EQ(n["adamw"] + n["add_layer_norm"] + n["norm_grad_add"], 0);
  EXPECT_GT(n["bias_activation"], 0);
  try {
    m.fuse({"bias"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(e.hint().find("bias_activation"), std::string::npos) << e.hint();
  }
}

TensorSpec f32(Shape s) { return {DType::f32, Layout::dense, s}; }
Attrs eps() {
  Attrs a;
  a.floats[0] = 1e-5;
  return a;
}

/// RMS norms, ReLU and SiLU with their gradients, by the reference kernels.
TEST(Fuse, OtherNormsAndActivations) {
  GraphBuilder b;
  const ValueId x = b.input("x", f32({Dim(5), Dim(6)})), y = b.input("y", f32({Dim(5), Dim(6)}));
  const ValueId w = b.input("w", f32({Dim(6)})), bias = b.input("bias", f32({Dim(6)}));
  const ValueId sum = b.call(ops::add, {x, y}), normed = b.call(ops::rms_norm, {sum, w}, eps());
  const ValueId one = b.call(ops::silu, {b.call(ops::add_row, {normed, bias})});
  const ValueId two = b.call(ops::relu, {b.call(ops::add_row, {normed, w})});
  const ValueId last = b.call(ops::add, {sum, b.call(ops::mul, {one, two})});
  const ValueId loss = b.call(ops::mean, {b.call(ops::mul, {last, last})});
  std::vector<ValueId> asked = gradients(b, loss, std::vector<ValueId>{x, w, bias});
  asked.push_back(last);
  for (ValueId v : asked) b.output(v);
  const Graph g = b.finish();
  passes::Rewritten r = passes::fuse(g, {}, {});
  std::map<std::string_view, int> n;
  for (const Node& node : r.graph.nodes()) ++n[node.op->name];
  EXPECT_EQ(n["add_rms_norm"], 1);
  EXPECT_EQ(n["norm_grad_add"], 1);
  EXPECT_EQ(n["bias_activation"], 2);
  EXPECT_EQ(n["bias_activation_grad"], 2);

  KernelTable kernels;
  register_reference(kernels);
  Interpreter before(g, kernels, {}), after(r.graph, kernels, {});
  std::vector<std::vector<float>> values;
  std::vector<InputBinding> in, in_after;
  testing::Random random(3);
  for (ValueId v : {x, y, w, bias}) {
    values.emplace_back(g.value(v).spec.bytes({}).count / 4);
    for (float& f : values.back()) f = random.real();
  }
  std::size_t i = 0;
  for (ValueId v : {x, y, w, bias}) {
    in.push_back({v, std::as_bytes(std::span(values[i]))});
    in_after.push_back({r.value[v], std::as_bytes(std::span(values[i++]))});
  }
  before.run({{}, in});
  after.run({{}, in_after});
  for (ValueId v : asked) {
    const auto want = before.bytes(v), got = after.bytes(r.value[v]);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin(), got.end())) << g.value(v).name;
  }
}

int fused_nodes(const Graph& g, std::span<const ValueId> keep) {
  const passes::Rewritten r = passes::fuse(g, {}, keep);
  for (ValueId v : keep) EXPECT_NE(r.value[v], kNone);
  return static_cast<int>(g.nodes().size() - r.graph.nodes().size());
}

TEST(Fuse, KeepsWhatIsAskedFor) {
  GraphBuilder b;
  const ValueId x = b.input("x", f32({Dim(5), Dim(6)})), bias = b.input("bias", f32({Dim(6)}));
  const ValueId sum = b.call(ops::add_row, {x, bias});
  b.output(b.call(ops::gelu, {sum}));
  const Graph g = b.finish();
  EXPECT_EQ(fused_nodes(g, {}), 1);
  EXPECT_EQ(fused_nodes(g, std::vector<ValueId>{sum}), 0);
}

/// The sum has another reader.
TEST(Fuse, LeavesASumThatOthersRead) {
  GraphBuilder b;
  const ValueId x = b.input("x", f32({Dim(5), Dim(6)})), bias = b.input("bias", f32({Dim(6)}));
  const ValueId sum = b.call(ops::add_row, {x, bias}), y = b.call(ops::gelu, {sum});
  b.output(b.call(ops::mul, {sum, y}));
  EXPECT_EQ(fused_nodes(b.finish(), {}), 0);
}

/// A fused node may not read a state before its version is there, nor after the next one is.
TEST(Fuse, ReadsStatesWhileTheyAreThere) {
  for (const bool changed : {false, true}) {
    GraphBuilder b;
    const TensorSpec row = f32({Dim(6)});
    const ValueId x = b.input("x", f32({Dim(5), Dim(6)})), w = b.state("w", row), bias = b.state("bias", row);
    const ValueId sum = b.call(ops::add, {x, x}), biased = b.call(ops::add_row, {x, bias});
    ValueId weight = w;
    if (changed) {
      weight = b.call(ops::accumulate, {w, b.call(ops::sum_rows, {x})});
      b.call(ops::accumulate, {bias, b.call(ops::sum_rows, {x})});
    }
    b.output(b.call(ops::rms_norm, {sum, weight}, eps()));
    b.output(b.call(ops::relu, {biased}));
    EXPECT_EQ(fused_nodes(b.finish(), {}), changed ? 0 : 2);
  }
}

}  // namespace
}  // namespace terrace
