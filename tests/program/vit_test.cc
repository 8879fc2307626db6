// The Vision Transformer: its gradient, and training steps against PyTorch.
#include "terrace/nn/vit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/gradient_check.h"
#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/nn/loss.h"
#include "terrace/program/trainer.h"

namespace terrace {
namespace {

nn::VitConfig tiny() {
  nn::VitConfig c;
  c.size = 4;
  c.channels = 2;
  c.patch = 2;
  c.classes = 3;
  c.width = 8;
  c.heads = 2;
  c.layers = 1;
  return c;
}
Shape images_of(const nn::VitConfig& c, i64 batch) { return {Dim(batch), Dim(c.size), Dim(c.size), Dim(c.channels)}; }

TEST(Vit, WholeModelsGradient) {
  testing::GradientCheck c(6);
  nn::VitConfig config = tiny();
  config.dtype = DType::f64;
  nn::Vit model(c.b, config);
  for (const nn::Parameter& p : model.parameters())
    if (p.name != "h.0.attn.k.bias") c.wrt(p.value, 0.5);  // softmax does not see it: its gradient is zero
  const ValueId logits = model.logits(c.x(images_of(config, 2)));
  EXPECT_EQ(c.b.spec(logits).shape, (Shape{Dim(2), Dim(1), Dim(1), Dim(3)}));
  c.expect_gradient(c.b.apply(ops::cross_entropy, {logits, c.ids({Dim(2), Dim(1), Dim(1)}, config.classes)})[0]);
}

TEST(Vit, PatchesAndHeadsMustDivide) {
  const auto refused = [](auto change) {
    nn::VitConfig c = tiny();
    change(c);
    GraphBuilder b;
    EXPECT_THROW(nn::Vit(b, c), Error);
  };
  refused([](nn::VitConfig& c) { c.patch = 3; });
  refused([](nn::VitConfig& c) { c.patch = 0; });
  refused([](nn::VitConfig& c) { c.heads = 3; });
}

/// tests/data/torch/vit_20_steps.py: the same weights, batches and options.
TEST(Vit, TwentyStepsAreThoseOfPyTorch) {
  nn::VitConfig config;
  config.size = 12;
  config.width = 32;
  config.layers = 2;
  constexpr i64 kBatch = 16;
  GraphBuilder b;
  nn::Vit model(b, config);
  const ValueId count = b.state("step", testing::i32_spec({Dim(1)}));
  const ValueId images = b.input("images", {DType::f32, Layout::dense, images_of(config, kBatch)});
  const ValueId labels = b.input("labels", testing::i32_spec({Dim(kBatch), Dim(1), Dim(1)}));
  const ValueId eval = model.logits(images), accuracy = nn::accuracy(b, eval, labels);
  nn::AdamW adamw;
  adamw.rate = 1e-2;
  adamw.least_rate = 1e-3;
  adamw.beta2 = 0.99;
  adamw.clip = 1;
  adamw.warm_up = 5;
  adamw.steps = 20;
  const auto loss = [&](i64) { return nn::mean_cross_entropy(b, model.logits(images, count), labels); };
  const nn::Update update = nn::add_adamw(b, loss, 1, model.parameters(), count, adamw);
  b.output(update.loss);
  b.output(accuracy);
  TrainerOptions options;
  options.isa = best_isa();
  options.threads = 2;
  options.evaluation = {accuracy};
  Trainer trainer(b.finish(), update, model.parameters(), testing::small_machine(64), options);
  trainer.start(1);

  std::ifstream file(std::string(TERRACE_TEST_DATA) + "/torch/vit_20_steps.txt");
  u64 state = 12345;
  std::vector<float> x(kBatch * 12 * 12);
  std::vector<i32> y(kBatch);
  const InputBinding in[] = {{images, std::as_bytes(std::span(x))}, {labels, std::as_bytes(std::span(y))}};
  double want = 0, right = 0, last = 0, share = 0;
  int steps = 0;
  for (; file >> want >> right; ++steps) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      if (i % 144 == 0) y[i / 144] = static_cast<i32>((state >> 40) % 10);
      const bool bright = i % 12 == static_cast<std::size_t>(y[i / 144]);  // a column for each class
      x[i] = static_cast<float>((state >> 33) % 256) / 128 - 1 + (bright ? 2.0f : 0.0f);
    }
    share = static_cast<double>(trainer.evaluate(in)[0]);
    EXPECT_NEAR(share, right, 1e-6) << "step " << steps;
    EXPECT_NEAR(last = static_cast<double>(trainer.step(in)), want, 1e-3) << "step " << steps;
  }
  EXPECT_EQ(steps, 20);
  EXPECT_LT(last, 1.5) << "ln 10 = 2.3 at first";
  EXPECT_GT(share, 0.2) << "by chance 0.1";
}

}  // namespace
}  // namespace terrace
