// A character GPT, trained here: char_gpt TEXT [STEPS [SEED]]. The recipe is nanoGPT's for a CPU, with 0.8 M
// parameters.
#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "terrace/core/error.h"
#include "terrace/nn/gpt.h"
#include "terrace/program/probe.h"
#include "terrace/program/trainer.h"

int main(int argc, char** argv) try {
  using namespace terrace;
  std::ifstream file(argc > 1 ? argv[1] : "");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  constexpr i64 kBatch = 12, kLength = 64, kWindows = kBatch * kLength;
  if (text.size() < 20 * kWindows) throw Error(ErrorKind::usage, "char_gpt TEXT [STEPS [SEED]]: the text is too short");
  const std::set<char> letters(text.begin(), text.end());
  std::vector<i32> tokens, x(kWindows), y(kWindows);
  for (char c : text) tokens.push_back(static_cast<i32>(std::distance(letters.begin(), letters.find(c))));
  const i64 steps = argc > 2 ? std::atoll(argv[2]) : 2000, split = std::ssize(tokens) * 9 / 10;  // the rest: validation

  GraphBuilder b;  // what: a model, its loss, and AdamW over it
  nn::Gpt model(b, {.vocabulary = std::ssize(letters), .context = kLength});
  const TensorSpec window{DType::i32, Layout::dense, {Dim(kBatch), Dim(kLength)}};
  const ValueId ids = b.input("ids", window), targets = b.input("targets", window);
  const ValueId step = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
  const auto loss = [&](i64) { return nn::mean_cross_entropy(b, model.logits(ids), targets); };
  const ValueId validation = loss(0);
  const nn::Update update = nn::add_adamw(b, loss, 1, model.parameters(), step,
                                          {.beta2 = 0.99, .clip = 1, .warm_up = steps / 20, .steps = steps});
  for (ValueId v : {update.loss, validation}) b.output(v);

  TrainerOptions options{.isa = best_isa(), .evaluations = {validation}};  // with what
  options.threads = static_cast<int>(std::thread::hardware_concurrency());
  const ProbeOptions probe{.threads = options.threads, .isa = options.isa};
  Trainer trainer(b.finish(), update, model.parameters(), probe_host(probe, cpu_kernels(options.isa)), options);
  u64 random = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  trainer.start(random);

  const InputBinding in[] = {{ids, std::as_bytes(std::span(x))}, {targets, std::as_bytes(std::span(y))}};
  const auto load = [&](i64 row, i64 at) {
    std::copy_n(tokens.begin() + at, kLength, x.begin() + row * kLength);
    std::copy_n(tokens.begin() + at + 1, kLength, y.begin() + row * kLength);
  };
  for (i64 i = 1; i <= steps; ++i) {
    for (i64 r = 0; r < kBatch; ++r)
      load(r,
           static_cast<i64>((random = random * 6364136223846793005 + 1442695040888963407) >> 33) % (split - kLength));
    const float l = trainer.step(in);
    if (i % 100 == 0) fmt::print("step {:5}  loss {:.4f}  {:.1f} ms\n", i, l, trainer.trace().totals.seconds * 1e3);
  }
  float sum = 0, n = 0;
  for (i64 at = split; at + kWindows < std::ssize(tokens); at += kWindows, ++n) {
    for (i64 r = 0; r < kBatch; ++r) load(r, at + r * kLength);
    sum += trainer.evaluate(validation, in)[0];
  }
  fmt::print("validation loss {:.4f}\n", sum / n);
} catch (const terrace::Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return exit_code(e.kind());
}
