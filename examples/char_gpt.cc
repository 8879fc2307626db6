// A character GPT, trained here: char_gpt TEXT [STEPS [SEED]]. The recipe is nanoGPT's for a CPU, with 0.8 M
// parameters.
#include <fmt/format.h>

#include <cstdlib>
#include <thread>

#include "terrace/core/error.h"
#include "terrace/nn/gpt.h"
#include "terrace/program/probe.h"
#include "terrace/program/text_data.h"
#include "terrace/program/trainer.h"

int main(int argc, char** argv) try {
  using namespace terrace;
  if (argc < 2) throw Error(ErrorKind::usage, "char_gpt TEXT [STEPS [SEED]]");
  constexpr i64 kBatch = 12, kLength = 64;
  const TextData text(argv[1], true, 0.1, kLength);  // the last tenth is for validation
  const i64 steps = argc > 2 ? std::atoll(argv[2]) : 2000;
  const u64 seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;

  GraphBuilder b;        // what: a model, its loss, and AdamW over it
  nn::GptConfig config;  // 4 layers of 4 heads, 128 wide
  config.vocabulary = text.vocabulary();
  config.context = kLength;
  nn::Gpt model(b, config);
  const TensorSpec window{DType::i32, Layout::dense, {Dim(kBatch), Dim(kLength)}};
  const ValueId ids = b.input("ids", window), targets = b.input("targets", window);
  const ValueId step = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
  const auto loss = [&](i64) { return model.loss(ids, targets, step, true); };
  const ValueId validation = model.loss(ids, targets, kNone, false);
  const nn::Update update = nn::add_adamw(b, loss, 1, model.parameters(), step,
                                          {.beta2 = 0.99, .clip = 1, .warm_up = steps / 20, .steps = steps});
  for (ValueId v : {update.loss, validation}) b.output(v);

  TrainerOptions options{.isa = best_isa(), .evaluation = {validation}};  // with what
  options.threads = static_cast<int>(std::thread::hardware_concurrency());
  const ProbeOptions probe{.threads = options.threads, .isa = options.isa};
  Trainer trainer(b.finish(), update, model.parameters(), probe_host(probe, cpu_kernels(options.isa)), options);
  trainer.start(seed);

  std::vector<i32> x(kBatch * kLength), y(x.size());
  const InputBinding in[] = {{ids, std::as_bytes(std::span(x))}, {targets, std::as_bytes(std::span(y))}};
  for (i64 i = 1; i <= steps; ++i) {
    text.draw(seed, i, 0, x, y);
    const float l = trainer.step(in);
    if (i % 100 == 0) fmt::print("step {:5}  loss {:.4f}  {:.1f} ms\n", i, l, trainer.trace().totals.seconds * 1e3);
  }
  float sum = 0, n = 0;
  for (i64 at = 0; at + kBatch <= text.validation_windows(); at += kBatch, ++n) {
    text.validation(at, x, y);
    sum += trainer.evaluate(in)[0];
  }
  fmt::print("validation loss {:.4f}\n", sum / n);
} catch (const terrace::Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return exit_code(e.kind());
}
