// Fine-tuning a small GGUF model, whole runs: adapters on packed weights, all parameters, and what is exported of them.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "support/planning.h"
#include "support/tiny_llama.h"
#include "support/tool.h"
#include "terrace/core/error.h"
#include "terrace/engine/interpreter.h"
#include "terrace/program/export.h"
#include "terrace/program/model.h"
#include "terrace/program/training_run.h"

namespace terrace {
namespace {

class FineTune : public ::testing::Test {
 protected:
  FineTune() {
    testing::write_tiny_llama(base(), {});
    std::string text;
    for (int i = 0; i < 60; ++i) text += "Rice grew on step " + std::to_string(i % 7) + " of the terrace.\n";
    std::ofstream(folder_ / "text") << text;
  }
  std::string base() const { return folder_ / "base.gguf"; }
  std::string checkpoint(const std::string& run) const { return folder_ / run + "/checkpoint.safetensors"; }
  static std::string lora() { return "[lora]\nrank = 4\nalpha = 8\ntargets = [\"q\", \"v\", \"down\"]\n"; }

  TrainConfig config(const std::string& lora, const std::string& run = "run", const std::string& file = "base.gguf",
                     const std::string& context = "16") const {
    return parse_train_config("[model]\nkind = \"llama\"\nfile = \"" + file + "\"\ncontext = " + context + "\n" + lora +
                                  "[data]\ntext = \"text\"\nvalidation = 0.2\n[optimizer]\nrate = 0.01\ndecay = 0\n"
                                  "clip = 1\n[run]\nfolder = \"" +
                                  run + "\"\nsteps = 6\nbatch = 2\n",
                              folder_ / "c.toml");
  }
  std::unique_ptr<TrainingRun> open(const TrainConfig& c) const {
    TrainerOptions options;
    options.isa = best_isa();
    options.threads = 2;
    return std::make_unique<TrainingRun>(c, testing::small_machine(4096), options);
  }
  /// The run, trained and saved.
  std::unique_ptr<TrainingRun> trained(const TrainConfig& c, int steps = 6) const {
    auto run = open(c);
    run->start();
    for (int i = 0; i < steps; ++i) run->step();
    run->save();
    return run;
  }
  static double loss(TrainingRun& run) { return run.evaluate().front().second; }
  /// The loss over the validation part of a model file as it is.
  double loss_of(const std::string& file) const {
    const auto run = open(config(lora(), "other", file));  // adapters begin with nothing
    run->start();
    return loss(*run);
  }
  void refused(ErrorKind kind, const std::string& part, const std::function<void()>& f) const {
    try {
      f();
      ADD_FAILURE() << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.message();
      EXPECT_NE((e.where() + ": " + e.message() + "; " + e.hint()).find(part), std::string::npos)
          << e.where() << ": " << e.message();
    }
  }
  testing::TemporaryFolder folder_;
};

std::vector<float> values(TrainingRun& run, const std::string& name) {
  for (const nn::Parameter& p : run.trainer().parameters())
    if (p.name == name) {
      const auto v = run.trainer().values(p.value);
      return {v.begin(), v.end()};
    }
  return {};
}

TEST_F(FineTune, AdaptersLearnAndNothingElseIsKept) {
  const auto run = open(config(lora()));
  run->start();
  const double before = loss(*run);
  for (int i = 0; i < 6; ++i) run->step();
  EXPECT_LT(loss(*run), before - 0.1);
  run->save();
  const io::Checkpoint c(checkpoint("run"));
  i64 weights = 0;
  for (const io::SafeTensor& t : c.file().tensors()) weights += c.is_weight(t);
  EXPECT_EQ(weights, 2 * 3 * 2) << "two layers, three matrices, two halves";
  EXPECT_EQ(c.file().tensors().size(), 3u * 12 + 1) << "moments, and the count of steps";
  EXPECT_LT(c.file().size(), u64{1} << 20);
  EXPECT_EQ(c.metadata("base_name"), "base.gguf");
}

/// The engine's kernels on weights as they lie in the file, against the interpreter's on the same bytes.
TEST_F(FineTune, LossIsTheInterpreters) {
  const auto run = open(config(lora()));
  run->start();
  run->step();
  const double got = loss(*run);
  const Graph& g = run->trainer().graph();
  const Model model = open_model(base());
  KernelTable kernels;
  register_reference(kernels);
  Interpreter engine(g, kernels, [&](ValueId v) {
    const io::GgufTensor& t = *model.file.find_tensor(g.value(v).name);
    std::vector<std::byte> bytes(t.bytes);
    model.file.file().read(t.offset, bytes);
    return bytes;
  });
  for (const nn::Parameter& p : run->trainer().parameters()) {
    const auto from = run->trainer().bytes(p.value);
    std::copy(from.begin(), from.end(), engine.state(p.value).begin());
  }
  double sum = 0;
  const i64 batches = run->task().validation_batches();
  std::vector<i32> ids(2 * 16), targets(ids.size());
  const std::span<std::byte> batch[] = {std::as_writable_bytes(std::span(ids)),
                                        std::as_writable_bytes(std::span(targets))};
  const ValueId value = g.outputs().back();
  for (i64 i = 0; i < batches; ++i) {
    run->task().validation(i, batch);
    const InputBinding in[] = {{*g.find_value("ids.0"), batch[0]}, {*g.find_value("targets.0"), batch[1]}};
    engine.run({{}, in}, {&value, 1});
    float f = 0;
    std::memcpy(&f, engine.bytes(value).data(), 4);
    sum += static_cast<double>(f);
  }
  EXPECT_NEAR(got, sum / static_cast<double>(batches), 1e-5);
}

TEST_F(FineTune, AResumedRunEndsWithTheSameWeights) {
  for (const std::string& l : {lora(), std::string()}) {
    const std::string a = l.empty() ? "full_a" : "a", b = l.empty() ? "full_b" : "b";
    const auto whole = trained(config(l, a));
    trained(config(l, b), 3);
    const auto rest = open(config(l, b));
    rest->resume();
    EXPECT_EQ(rest->steps_done(), 3);
    for (int i = 0; i < 3; ++i) rest->step();
    EXPECT_EQ(rest->save(), whole->save());
  }
}

TEST_F(FineTune, TheResultDoesNotDependOnThreads) {
  const auto two = trained(config(lora(), "two"));
  TrainerOptions options;
  options.isa = best_isa();
  TrainingRun one(config(lora(), "one"), testing::small_machine(4096), options);
  one.start();
  for (int i = 0; i < 6; ++i) one.step();
  EXPECT_EQ(one.save(), two->save());
}

TEST_F(FineTune, MergedAdaptersAreTheModelThatWasTrained) {
  const auto run = trained(config(lora()));
  const double want = loss(*run), untrained = loss_of("base.gguf");
  EXPECT_LT(want, untrained - 0.1);
  const Exported e = export_checkpoint(checkpoint("run"), folder_ / "m32.gguf", {base(), true, DType::f32});
  export_checkpoint(checkpoint("run"), folder_ / "m16.gguf", {base(), true, DType::f16});
  EXPECT_NEAR(loss_of("m32.gguf"), want, 1e-5);
  EXPECT_NEAR(loss_of("m16.gguf"), want, 1e-3);
  // What has no adapter is there byte by byte, keys included.
  const Model merged = open_model(folder_ / "m16.gguf"), from = open_model(base());
  EXPECT_EQ(e.tensors, static_cast<i64>(from.file.tensors().size()));
  ASSERT_EQ(merged.file.entries().size(), from.file.entries().size());
  ASSERT_EQ(merged.file.tensors().size(), from.file.tensors().size());
  const auto bytes = [](const Model& m, const io::GgufTensor& t) {
    std::vector<std::byte> b(t.bytes);
    m.file.file().read(t.offset, b);
    return b;
  };
  for (std::size_t i = 0; i < from.file.tensors().size(); ++i) {
    const io::GgufTensor &t = from.file.tensors()[i], &u = merged.file.tensors()[i];
    ASSERT_EQ(t.name, u.name);
    const bool adapted =
        t.name.ends_with("attn_q.weight") || t.name.ends_with("attn_v.weight") || t.name.ends_with("ffn_down.weight");
    if (adapted)
      EXPECT_EQ(u.spec.dtype, DType::f16) << t.name;
    else
      EXPECT_TRUE(t.spec == u.spec && bytes(from, t) == bytes(merged, u)) << t.name;
  }
  for (std::size_t i = 0; i < from.file.entries().size(); ++i) {
    const io::GgufEntry &x = from.file.entries()[i], &y = merged.file.entries()[i];
    EXPECT_TRUE(x.key == y.key && x.type == y.type && x.bytes == y.bytes && x.scalar == y.scalar) << x.key;
  }
}

TEST_F(FineTune, AllParametersAsAModel) {
  const auto run = trained(config(""));
  EXPECT_EQ(run->trainer().parameters().size(), open_model(base()).file.tensors().size());
  const double want = loss(*run);
  EXPECT_LT(want, loss_of("base.gguf") - 0.1);
  export_checkpoint(checkpoint("run"), folder_ / "f32.gguf", {base(), false, DType::f32});
  export_checkpoint(checkpoint("run"), folder_ / "f16.gguf", {base(), false, DType::f16});
  EXPECT_NEAR(loss_of("f32.gguf"), want, 1e-5);
  EXPECT_NEAR(loss_of("f16.gguf"), want, 1e-2);
  EXPECT_EQ(open_model(folder_ / "f16.gguf").file.get_uint("general.file_type"), 1u);
}

TEST_F(FineTune, ParametersAndAdaptersForOtherPrograms) {
  const auto run = trained(config(lora()));
  export_checkpoint(checkpoint("run"), folder_ / "adapter.gguf", {});
  export_checkpoint(checkpoint("run"), folder_ / "adapter.safetensors", {});
  export_checkpoint(checkpoint("run"), folder_ / "merged.safetensors", {base(), true, DType::f32});
  const io::GgufFile gguf(folder_ / "adapter.gguf");
  const io::SafeTensorsFile plain(folder_ / "adapter.safetensors"), merged(folder_ / "merged.safetensors");
  EXPECT_EQ(gguf.get_string("general.type"), "adapter");
  EXPECT_EQ(gguf.get_string("adapter.type"), "lora");
  EXPECT_EQ(gguf.get_float("adapter.lora.alpha"), 8);
  ASSERT_EQ(gguf.tensors().size(), 12u);
  ASSERT_EQ(plain.tensors().size(), 12u);
  EXPECT_FALSE(plain.metadata("weights_sha256")) << "it is no checkpoint";
  EXPECT_EQ(plain.metadata("lora.rank"), "4");
  for (const io::GgufTensor& t : gguf.tensors()) {
    const io::SafeTensor* s = plain.find(t.name);
    ASSERT_TRUE(s && s->spec == t.spec) << t.name;
    std::vector<float> a(t.bytes / 4), b(a.size());
    gguf.file().read(t.offset, std::as_writable_bytes(std::span(a)));
    plain.read(*s, 0, std::as_writable_bytes(std::span(b)));
    EXPECT_EQ(a, values(*run, t.name)) << t.name;
    EXPECT_EQ(b, a);
  }
  EXPECT_EQ(merged.tensors().size(), open_model(base()).file.tensors().size());
  for (const io::SafeTensor& t : merged.tensors()) EXPECT_EQ(t.spec.dtype, DType::f32) << t.name;
}

TEST_F(FineTune, RefusesWhatDoesNotBelongTogether) {
  trained(config(lora()), 1);
  const auto go = [&](const std::string& out, const ExportOptions& o, const std::string& run = "run") {
    return [=, this] { export_checkpoint(checkpoint(run), folder_ / out, o); };
  };
  refused(ErrorKind::usage, "--base", go("x.gguf", {"", true, DType::f16}));
  refused(ErrorKind::usage, "neither", go("x.bin", {}));
  testing::write_tiny_llama(folder_ / "other.gguf", {.seed = 2});
  refused(ErrorKind::bad_file, "base.gguf", go("x.gguf", {folder_ / "other.gguf", true, DType::f16}));
  refused(ErrorKind::bad_file, "base_sha256", [&] { open(config(lora(), "run", "other.gguf"))->resume(); });
  std::filesystem::copy_file(base(), folder_ / "moved.gguf");
  open(config(lora(), "run", "moved.gguf"))->resume();  // the same file under another name
  refused(ErrorKind::bad_file, "lora.alpha",
          [&] { open(config("[lora]\nrank = 4\nalpha = 9\ntargets = [\"q\", \"v\", \"down\"]\n"))->resume(); });
  refused(ErrorKind::bad_file, "lora_a",
          [&] { open(config("[lora]\nrank = 4\nalpha = 8\ntargets = [\"q\", \"v\", \"up\"]\n"))->resume(); });
  trained(config("", "full"), 1);
  refused(ErrorKind::usage, "no adapters", go("x.gguf", {base(), true, DType::f16}, "full"));
  // f16 ends at 65504.
  const auto run = trained(config(lora(), "large"), 1);
  for (const nn::Parameter& p : run->trainer().parameters())
    for (float& x : run->trainer().values(p.value)) x = 1000;
  run->save();
  refused(ErrorKind::failure, "--type f32", go("x.gguf", {base(), true, DType::f16}, "large"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.gguf"));
  std::string bytes = testing::slurp(checkpoint("run"));
  bytes[bytes.size() - 5000] ^= 1;
  std::ofstream(checkpoint("run"), std::ios::binary) << bytes;
  refused(ErrorKind::bad_file, "altered", [&] { open(config(lora()))->resume(); });
  std::filesystem::rename(folder_ / "other.gguf", base());
  refused(ErrorKind::bad_file, "base_sha256", [&] { open(config("", "full"))->resume(); });
}

TEST_F(FineTune, RefusesConfigurationsThatCannotBe) {
  refused(ErrorKind::usage, "\"w\"", [&] { open(config("[lora]\ntargets = [\"w\"]\n")); });
  refused(ErrorKind::usage, "1..32", [&] { open(config("[lora]\nrank = 33\n")); });
  refused(ErrorKind::usage, "context of 256", [&] { open(config(lora(), "run", "base.gguf", "257")); });
  refused(ErrorKind::bad_file, "none.gguf", [&] { open(config(lora(), "run", "none.gguf")); });
  refused(ErrorKind::bad_file, "ranks", [&] { config("[lora]\nranks = 3\n"); });
  refused(ErrorKind::bad_file, "targets", [&] { config("[lora]\ntargets = \"q\"\n"); });
  refused(ErrorKind::bad_file, "targets", [&] { config("[lora]\ntargets = []\n"); });
  refused(ErrorKind::bad_file, "targets", [&] { config("[lora]\ntargets = [1]\n"); });
  std::ofstream(folder_ / "text") << "Rice.";
  refused(ErrorKind::bad_file, "too few", [&] { open(config(lora())); });
}

}  // namespace
}  // namespace terrace
