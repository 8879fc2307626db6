// What a configuration and a checkpoint say of a model's precision.
#include <gtest/gtest.h>

#include <fstream>

#include "support/planning.h"
#include "support/tool.h"
#include "terrace/core/error.h"
#include "terrace/nn/gpt.h"
#include "terrace/program/training_run.h"

namespace terrace {
namespace {

TEST(Precision, Bf16IsRefusedOverOtherTypes) {
  for (const auto& [precision, dtype] : {std::pair{DType::bf16, DType::f64}, {DType::f16, DType::f32}}) {
    GraphBuilder b;
    nn::GptConfig config;
    config.precision = precision;
    config.dtype = dtype;
    EXPECT_THROW(nn::Gpt(b, config), Error);
  }
}

TEST(Precision, IsPartOfTheRun) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "text") << std::string(500, 'a') + std::string(500, 'b');
  const auto config = [&](const std::string& precision) {
    const std::string text = "[model]\nkind = \"gpt\"\nlayers = 1\nwidth = 8\nheads = 1\ncontext = 8\nprecision = \"" +
                             precision + "\"\n[data]\ntext = \"text\"\n[run]\nfolder = \".\"\nsteps = 4\nbatch = 2\n";
    return parse_train_config(text, folder / "c.toml");
  };
  EXPECT_THROW(config("f16"), Error);
  TrainingRun run(config("bf16"), testing::small_machine(64), {});
  run.start();
  const double first = run.step().loss;
  EXPECT_NEAR(first, 0.69, 0.05) << "ln 2 at first";
  run.save();
  TrainingRun again(config("bf16"), testing::small_machine(64), {});
  again.resume();
  EXPECT_EQ(again.step().loss, run.step().loss);
  try {
    TrainingRun(config("f32"), testing::small_machine(64), {}).resume();
    FAIL();
  } catch (const Error& e) { EXPECT_NE(e.message().find("precision"), std::string::npos) << e.message(); }
}

}  // namespace
}  // namespace terrace
