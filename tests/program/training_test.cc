// Training as a longer graph: the gradient of a whole model, and steps on the host engine against the interpreter.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/gradient_check.h"
#include "program/bodies.h"
#include "support/planning.h"
#include "support/tool.h"
#include "terrace/core/error.h"
#include "terrace/nn/gpt.h"
#include "terrace/plan/verify.h"
#include "terrace/program/program.h"
#include "terrace/program/trainer.h"
#include "terrace/program/training_run.h"

namespace terrace {
namespace {

using testing::body;
using testing::bytes_of;
using testing::floats;

nn::GptConfig tiny() {
  nn::GptConfig c;
  c.vocabulary = 11;
  c.context = 7;
  c.width = 8;
  c.heads = 2;
  c.layers = 2;
  return c;
}

struct Step {
  Step(const nn::GptConfig& config, const nn::AdamW& adamw, i64 parts, i64 batch, i64 length) {
    GraphBuilder b;
    const ValueId step = b.state("step", testing::i32_spec({Dim(1)}));
    nn::Gpt model(b, config);
    parameters = model.parameters();
    for (i64 part = 0; part < parts; ++part) {
      ids.push_back(b.input("ids" + std::to_string(part), testing::i32_spec({Dim(batch), Dim(length)})));
      targets.push_back(b.input("targets" + std::to_string(part), testing::i32_spec({Dim(batch), Dim(length)})));
    }
    const auto i = [](i64 part) { return static_cast<std::size_t>(part); };
    eval = model.loss(ids[0], targets[0], kNone, false);  // reads weights before they change
    update = nn::add_adamw(
        b, [&](i64 part) { return model.loss(ids[i(part)], targets[i(part)], step, true); }, parts, parameters, step,
        adamw);
    b.output(update.loss);
    b.output(eval);
    graph = b.finish();
  }
  /// Random tokens for step `s`.
  std::vector<InputBinding> bind(u64 s) {
    tokens.clear();
    std::vector<InputBinding> in;
    for (const auto* list : {&ids, &targets})
      for (ValueId v : *list)
        tokens.push_back(
            testing::random_ids(graph.value(v).spec.rows({}) * graph.value(v).spec.columns({}), 11, s * 97 + v));
    std::size_t i = 0;
    for (const auto* list : {&ids, &targets})
      for (ValueId v : *list) in.push_back({v, std::as_bytes(std::span(tokens[i++]))});
    return in;
  }
  Graph graph;
  std::vector<nn::Parameter> parameters;
  nn::Update update;
  std::vector<ValueId> ids, targets;
  ValueId eval = kNone;
  std::vector<std::vector<i32>> tokens;
};

/// Loss of every step, and the weights after them, by one engine.
struct History {
  std::vector<float> loss, eval;
  std::vector<float> weights;
};
constexpr u64 kSteps = 4;

History interpreted(Step& s) {
  KernelTable kernels;
  register_reference(kernels);
  Interpreter run(s.graph, kernels, {});
  for (const nn::Parameter& p : s.parameters) {
    std::vector<float> w(run.state(p.value).size() / 4);
    nn::initialize(p, 1, w);
    std::memcpy(run.state(p.value).data(), w.data(), w.size() * 4);
  }
  History h;
  for (u64 i = 0; i < kSteps; ++i) {
    const auto in = s.bind(i);
    run.run({{}, in}, std::vector<ValueId>{s.eval});
    h.eval.push_back(floats(run.bytes(s.eval))[0]);
    auto goals = s.update.changed;
    goals.push_back(s.update.loss);
    run.run({{}, in}, goals);
    h.loss.push_back(floats(run.bytes(s.update.loss))[0]);
  }
  for (const nn::Parameter& p : s.parameters) {
    const auto w = floats(run.state(p.value));
    h.weights.insert(h.weights.end(), w.begin(), w.end());
  }
  return h;
}

History planned(Step& s, int threads, Isa isa) {
  auto goals = s.update.changed;
  goals.push_back(s.update.loss);
  PlanRequest request;
  request.bodies = {body("step", goals), body("eval", {s.eval})};
  request.threads = threads;
  request.isa = isa;
  GraphBuilder copy(s.graph);
  Program p = compile(copy.finish(), testing::small_machine(64), request);
  p.load({});
  for (const nn::Parameter& w : s.parameters) {
    const auto to = bytes_of(p.host().state(w.value));
    std::vector<float> values(to.size() / 4);
    nn::initialize(w, 1, values);
    std::memcpy(to.data(), values.data(), to.size());
  }
  History h;
  for (u64 i = 0; i < kSteps; ++i) {
    const auto in = s.bind(i);
    p.run("eval", {{}, in});
    h.eval.push_back(floats(bytes_of(p.output(s.eval)))[0]);
    p.run("step", {{}, in});
    h.loss.push_back(floats(bytes_of(p.output(s.update.loss)))[0]);
  }
  for (const nn::Parameter& w : s.parameters) {
    const auto v = floats(bytes_of(p.host().state(w.value)));
    h.weights.insert(h.weights.end(), v.begin(), v.end());
  }
  return h;
}

TEST(Training, WholeModelsGradient) {
  testing::GradientCheck c(5);
  nn::GptConfig config = tiny();
  config.dtype = DType::f64;
  config.layers = 1;
  nn::Gpt model(c.b, config);
  for (const nn::Parameter& p : model.parameters()) c.wrt(p.value, 0.5);
  const ValueId ids = c.ids({Dim(2), Dim(5)}, config.vocabulary), targets = c.ids({Dim(2), Dim(5)}, config.vocabulary);
  c.expect_gradient(model.loss(ids, targets, kNone, true));
}

void expect_close(const History& got, const History& want, double tolerance) {
  for (std::size_t i = 0; i < want.loss.size(); ++i) {
    EXPECT_NEAR(got.loss[i], want.loss[i], tolerance) << "step " << i;
    EXPECT_NEAR(got.eval[i], want.eval[i], tolerance) << "step " << i;
  }
  ASSERT_EQ(got.weights.size(), want.weights.size());
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < want.weights.size(); ++i) {
    error += std::pow(got.weights[i] - want.weights[i], 2);
    norm += std::pow(want.weights[i], 2);
  }
  EXPECT_LE(std::sqrt(error), 10 * tolerance * std::sqrt(norm));
}

TEST(Training, StepsOnTheHostAreTheInterpreters) {
  nn::AdamW adamw;
  adamw.warm_up = 2;
  adamw.rate = 1e-2;
  for (const double clip : {0.0, 0.5})
    for (const i64 parts : {1, 2}) {
      adamw.clip = clip;
      nn::GptConfig config = tiny();
      config.dropout = parts == 2 ? 0.2 : 0;
      Step s(config, adamw, parts, 3, 6);
      const History want = interpreted(s);
      EXPECT_LT(want.loss[0], 3) << "ln 11 = 2.4 at first";
      for (const Isa isa : {Isa::portable, best_isa()}) {
        const History one = planned(s, 1, isa), two = planned(s, 2, isa);
        expect_close(one, want, 2e-5);
        EXPECT_EQ(one.loss, two.loss);
        EXPECT_EQ(one.weights, two.weights);
      }
    }
}

/// In bf16: what is planned against the interpreter, where a rounding may fall the other way; the same bits for any
/// number of threads; weights, moments and their gradients in f32.
TEST(Training, StepsInBf16AreTheInterpreters) {
  nn::AdamW adamw;
  adamw.rate = 1e-3;
  nn::GptConfig config = tiny();
  config.precision = DType::bf16;
  Step s(config, adamw, 1, 3, 6);
  for (const nn::Parameter& p : s.parameters) EXPECT_EQ(s.graph.value(p.value).spec.dtype, DType::f32) << p.name;
  i64 halves = 0;
  for (const Node& n : s.graph.nodes())
    for (ValueId v : n.outputs) halves += s.graph.value(v).spec.dtype == DType::bf16;
  EXPECT_GT(halves, 40);
  const History want = interpreted(s);
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, best_isa()}) {
    if (isa > best_isa()) continue;
    const History one = planned(s, 1, isa), two = planned(s, 2, isa);
    for (std::size_t i = 0; i < want.loss.size(); ++i) EXPECT_NEAR(one.loss[i], want.loss[i], 3e-3) << name_of(isa);
    EXPECT_EQ(one.loss, two.loss);
    EXPECT_EQ(one.weights, two.weights);
  }
}

TEST(Training, UpdatesRunAsSoonAsTheyCan) {
  Step s(tiny(), {}, 1, 2, 5);
  PlanRequest request;
  request.bodies = {body("step")};
  GraphBuilder copy(s.graph);
  const Program p = compile(copy.finish(), testing::small_machine(64), request);
  // The output matrix is tied to the table, whose gradient is complete last; the last norm's update comes long before.
  u32 last_norm = 0, table = 0;
  const Body& b = p.plan().bodies.back();
  for (u32 i = 0; i < b.steps.size(); ++i)
    for (const Operand& o : b.writes(b.steps[i])) {
      if (p.graph().value(o.value).name == "ln_f.weight'") last_norm = i;
      if (p.graph().value(o.value).name == "wte'") table = i;
    }
  EXPECT_GT(last_norm, 0u);
  EXPECT_LT(last_norm, b.steps.size() / 2);
  EXPECT_GT(table, b.steps.size() * 8 / 10);
}

/// tests/data/torch/gpt_20_steps.py: the same weights, batches and options. `most`: how far the loss may be off.
void expect_pytorchs_steps(DType precision, double most) {
  nn::GptConfig config;
  config.precision = precision;
  config.vocabulary = 65;
  config.context = 32;
  config.width = 64;
  config.layers = 2;
  nn::AdamW adamw;
  adamw.rate = 1e-2;
  adamw.least_rate = 1e-3;
  adamw.beta2 = 0.99;
  adamw.clip = 1;
  adamw.warm_up = 5;
  adamw.steps = 20;
  Step s(config, adamw, 1, 4, 32);
  TrainerOptions options;
  options.isa = best_isa();
  options.threads = 2;
  Trainer trainer(std::move(s.graph), s.update, s.parameters, testing::small_machine(64), options);
  trainer.start(1);
  std::ifstream file(std::string(TERRACE_TEST_DATA) + "/torch/gpt_20_steps.txt");
  u64 state = 12345;
  std::vector<i32> ids(4 * 32), targets(ids.size());
  double loss = 0, last = 0;
  int steps = 0;
  for (; file >> loss; ++steps) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      ids[i] = static_cast<i32>((state >> 33) % 65);
      targets[i] = (7 * ids[i] + 3) % 65;
    }
    const InputBinding in[] = {{s.ids[0], std::as_bytes(std::span(ids))},
                               {s.targets[0], std::as_bytes(std::span(targets))}};
    EXPECT_NEAR(last = trainer.step(in), loss, most) << "step " << steps;
  }
  EXPECT_EQ(steps, 20);
  EXPECT_LT(last, 1) << "ln 65 = 4.2 at first";
}
TEST(Training, TwentyStepsAreThoseOfPyTorch) { expect_pytorchs_steps(DType::f32, 1e-3); }
TEST(Training, TwentyStepsInBf16StayNearThem) { expect_pytorchs_steps(DType::bf16, 3e-2); }

/// The planner's offsets for a training step: hardly more than the most bytes that live at once.
TEST(Training, MemoryIsPackedCloseToWhatLives) {
  for (const i64 layers : {1, 2, 4}) {
    nn::GptConfig config;
    config.layers = layers;
    config.context = 32;
    config.width = 64;
    for (const double clip : {0.0, 1.0}) {
      nn::AdamW adamw;
      adamw.clip = clip;
      Step s(config, adamw, 1, 4, 32);
      TrainerOptions options;
      Trainer trainer(std::move(s.graph), s.update, s.parameters, testing::small_machine(64), options);
      EXPECT_LE(static_cast<double>(trainer.region_bytes().count),
                1.03 * static_cast<double>(trainer.live_bytes().count))
          << layers << " layers, clip " << clip;
    }
  }
}

/// Whatever made it so: what is no number does not take the place of a sound checkpoint.
TEST(TrainingRun, SavesNoParameterThatIsNoNumber) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "text") << std::string(500, 'a') + std::string(500, 'b');
  const std::string text =
      "[model]\nkind = \"gpt\"\nlayers = 1\nwidth = 8\nheads = 1\ncontext = 8\n[data]\ntext = \"text\"\n"
      "[run]\nfolder = \".\"\nsteps = 4\nbatch = 2\n";
  TrainingRun run(parse_train_config(text, folder / "c.toml"), testing::small_machine(64), {});
  run.start();
  run.step();
  run.save();
  const std::string before = testing::slurp(run.checkpoint_path());
  run.trainer().values(run.trainer().parameters()[3].value)[1] = NAN;
  try {
    run.save();
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find(run.trainer().parameters()[3].name), std::string::npos) << e.message();
  }
  EXPECT_EQ(testing::slurp(run.checkpoint_path()), before);
}

/// Weights ten times as large as at the beginning of training, so that attention attends.
void set_weights(Interpreter& engine, const nn::Gpt& model) {
  for (const nn::Parameter& p : model.parameters()) {
    std::vector<float> w(engine.state(p.value).size() / 4);
    nn::initialize({p.name, p.value, p.deviation * 10, p.constant, true}, 1, w);
    std::memcpy(engine.state(p.value).data(), w.data(), w.size() * 4);
  }
}

/// Tokens one at a time, with keys and values kept, see what a whole window sees.
TEST(Gpt, NextIsTheLastRowOfLogits) {
  const nn::GptConfig config = tiny();
  const auto run = [&](auto build, const std::vector<i32>& tokens, const std::vector<i64>& cuts) {
    GraphBuilder b;
    nn::Gpt model(b, config);
    const SymbolId n = b.symbol("n", config.context), pos = b.symbol("pos", config.context);
    const ValueId ids = b.input("ids", testing::i32_spec({Dim::of(n)}));
    const ValueId out = build(b, model, ids, pos);
    b.output(out);
    const Graph g = b.finish();
    KernelTable kernels;
    register_reference(kernels);
    Interpreter engine(g, kernels, {});
    set_weights(engine, model);
    i64 at = 0;
    for (i64 count : cuts) {
      const std::array<i64, 2> symbols = {count, at};
      const InputBinding in{
          ids, std::as_bytes(std::span(tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)))};
      engine.run({symbols, {&in, 1}});
      at += count;
    }
    std::vector<float> all = floats(engine.bytes(out));
    return std::vector<float>(all.end() - config.vocabulary, all.end());
  };
  const std::vector<i32> tokens = {3, 1, 10, 7, 7, 0, 2};
  const auto next = [](GraphBuilder&, nn::Gpt& m, ValueId ids, SymbolId pos) { return m.next(ids, pos); };
  const auto want = run(next, tokens, {7});
  for (const std::vector<i64>& cuts : {std::vector<i64>{1, 1, 1, 1, 1, 1, 1}, {3, 1, 3}}) {
    const auto got = run(next, tokens, cuts);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
  }
  // The training graph over one window of the same length.
  GraphBuilder b;
  nn::Gpt model(b, config);
  const ValueId ids = b.input("ids", testing::i32_spec({Dim(1), Dim(7)})), logits = model.logits(ids);
  b.output(logits);
  const Graph g = b.finish();
  KernelTable kernels;
  register_reference(kernels);
  Interpreter engine(g, kernels, {});
  set_weights(engine, model);
  const InputBinding in{ids, std::as_bytes(std::span(tokens))};
  engine.run({{}, {&in, 1}});
  const auto all = floats(engine.bytes(logits));
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(all[6 * 11 + i], want[i], 1e-5);
}

TEST(Initialization, IsNormalAndDependsOnNameAndSeedAlone) {
  const nn::Parameter p{"h.0.mlp.up", 0, 0.02, 0, true};
  std::vector<float> a(10001), b(10001), part(7);
  nn::initialize(p, 3, a);
  nn::initialize(p, 3, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end() - 1, a.begin()));
  nn::initialize(p, 4, b);
  EXPECT_NE(a, b);
  double mean = 0, square = 0;
  for (float x : a) mean += x / 10001.0, square += x * x / 10001.0;
  EXPECT_NEAR(mean, 0, 0.001);
  EXPECT_NEAR(std::sqrt(square), 0.02, 0.001);
}

}  // namespace
}  // namespace terrace
