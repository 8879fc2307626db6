// terrace train: from a configuration to a run's folder with metrics, checkpoints and a loss curve.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/peak.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/training/curve_svg.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/training_run.h"

namespace terrace::cli {
namespace {

constexpr u64 kMaxConfig = u64{1} << 20;

/// What an evaluation gave, by name; the loss first.
using Values = std::vector<std::pair<std::string, double>>;

/// "tokens": the key under which they are counted.
std::string units_key(const TrainingTask& task) { return fmt::format("{}s", task.unit()); }

/// metrics.jsonl, a line a step, and the picture of it.
class Metrics {
 public:
  /// Keeps the lines of steps up to `done`: what came after the checkpoint is trained again.
  Metrics(const std::string& folder, i64 done, const char* unit)
      : path_(folder + "/metrics.jsonl"),
        picture_(folder + "/loss.svg"),
        y_label_(fmt::format("{} {}", unit[0] == 'i' ? "nats an" : "nats a", unit)) {
    loss_.name = "training";
    loss_.faint = true;
    validation_.name = "validation";
    std::string kept;
    if (done > 0) kept = kept_lines(done);
    write_file(path_, kept);
    file_.reset(std::fopen(path_.c_str(), "ae"));
    if (!file_) throw Error(ErrorKind::failure, "cannot be written", path_);
  }
  void add(const Json& line, i64 step, double loss, const Values& values) {
    note(step, loss, values.empty() ? std::nullopt : std::optional(values[0].second));
    fmt::print(file_.get(), "{}\n", line.text());
    flush(file_.get());
  }
  void draw() const {
    Chart c;
    c.title = "Loss";
    c.x_label = "step";
    c.y_label = y_label_;
    c.curves.push_back(loss_);
    if (!validation_.points.empty()) c.curves.push_back(validation_);
    write_file(picture_, curve_svg(c));
  }

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  void note(i64 step, double loss, std::optional<double> validation) {
    loss_.points.emplace_back(step, loss);
    if (validation) validation_.points.emplace_back(step, *validation);
  }
  std::string kept_lines(i64 done) {
    std::error_code none;
    if (!std::filesystem::exists(path_, none)) return {};
    const std::string all = read_file(path_);
    std::string kept;
    for (std::size_t at = 0, end = 0; (end = all.find('\n', at)) != std::string::npos; at = end + 1) {
      const auto j = nlohmann::json::parse(all.begin() + static_cast<std::ptrdiff_t>(at),
                                           all.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      const auto number = [&](const char* key) { return j.is_object() && j.contains(key) && j[key].is_number(); };
      if (!number("step") || !number("loss") || j["step"].get<i64>() > done) continue;
      std::optional<double> validation;
      if (number("val_loss")) validation = j["val_loss"].get<double>();
      note(j["step"].get<i64>(), j["loss"].get<double>(), validation);
      kept.append(all, at, end + 1 - at);
    }
    return kept;
  }

  std::string path_, picture_, y_label_;
  std::unique_ptr<std::FILE, Close> file_;
  Curve loss_, validation_;
};

TrainConfig config_of(const Args& args) {
  const std::string& path = args.word(0, "a configuration");
  args.at_most(1);
  TrainConfig c = parse_train_config(read_file(path, kMaxConfig), path);
  c.seed = static_cast<u64>(args.integer("seed", static_cast<i64>(c.seed), 0, i64{1} << 53));
  return c;
}

void prepare_folder(const TrainingRun& run, bool resume) {
  std::error_code error;
  std::filesystem::create_directories(run.config().folder, error);
  if (error) throw Error(ErrorKind::failure, "cannot be made: " + error.message(), run.config().folder);
  const bool there = std::filesystem::exists(run.checkpoint_path(), error);
  if (there && !resume)
    throw Error(ErrorKind::usage, "there is a run in this folder", run.config().folder,
                "--resume goes on with it; another run.folder begins anew");
  if (!there && resume)
    throw Error(ErrorKind::usage, "there is no checkpoint to resume", run.checkpoint_path(), "leave out --resume");
}

Json line_of(const TrainStep& s, const TrainingTask& task, i64 units, double predicted, const Values& values) {
  Json j = Json::object();
  j.add("step", s.step).add("loss", static_cast<double>(s.loss));
  j.add(units_key(task), units).add("seconds", s.seconds);
  j.add("predicted_seconds", predicted).add("lr", s.rate);
  if (s.grad_norm >= 0) j.add("grad_norm", s.grad_norm);
  j.add("peak_bytes", measure_peak().bytes).add("written_bytes", 0);
  for (const auto& [name, value] : values) j.add(name, value);
  return j;
}

void show_plan(std::FILE* out, TrainingRun& run, const Machine& machine) {
  Trainer& t = run.trainer();
  const Bytes region = t.region_bytes(), live = t.live_bytes();
  fmt::print(out, "{} parameters, {}; {} steps of {} {}s\n", run.parameter_count(), run.task().describe_data(),
             run.config().steps, run.task().units() * run.config().parts, run.task().unit());
  fmt::print(
      out,
      "memory planned {}: activations and gradients {}, of which {} live at once at most (packed within {:.1f} %)\n",
      human(t.plan().total_bytes(machine.main_memory())), human(region), human(live),
      100 * (static_cast<double>(region.count) / static_cast<double>(std::max<u64>(1, live.count)) - 1));
}

int train(const Args& args) {
  TrainConfig config = config_of(args);
  const std::string origin = config.origin;
  probe_if_unknown(args, origin);
  const Machine machine = machine_of(args);
  TrainerOptions options;
  options.budget = budget_of(args, "");
  options.threads = threads_of(args);
  options.isa = isa_of(args);
  TrainingRun run(std::move(config), machine, options, no_fuse_of(args));
  const bool resume = args.has("resume");
  prepare_folder(run, resume);
  std::FILE* out = text_stream(args);
  show_plan(out, run, machine);
  const double predicted = run.trainer().predicted_seconds();
  if (resume)
    run.resume();
  else
    run.start();

  const TrainConfig& c = run.config();
  const TrainingTask& task = run.task();
  const i64 units = task.units() * c.parts;
  const EndInOrder in_order;
  Metrics metrics(c.folder, run.steps_done(), task.unit());
  if (resume) fmt::print(out, "resumed after step {}\n", run.steps_done());
  Bar bar("training");
  std::string hash;
  i64 saved = run.steps_done();
  double seconds = 0;
  i64 steps = 0;
  run.on_search = [&](i64 done, i64 of) {
    bar.show(static_cast<double>(done) / static_cast<double>(of), "looking for the first tensor that is no number");
    return !cancelled().load();
  };
  TrainStep s;
  Values last_values;
  const auto save = [&] {
    hash = run.save();
    saved = run.steps_done();
    metrics.draw();
  };
  while (run.steps_done() < c.steps && !cancelled().load()) {
    s = run.step();
    seconds += s.seconds;
    ++steps;
    const bool last = s.step == c.steps;
    Values values;
    if (run.evaluates() && (last || (c.evaluate_every > 0 && s.step % c.evaluate_every == 0))) {
      values = last_values = run.evaluate();
      bar.clear();
      fmt::print(out, "step {:>6}   loss {:.4f}", s.step, s.loss);
      for (const auto& [name, value] : values) fmt::print(out, "   {} {:.4f}", name, value);
      fmt::print(out, "   {} a step\n", human_seconds(seconds / static_cast<double>(steps)));
      flush(out);
    }
    metrics.add(line_of(s, task, units, predicted, values), s.step, static_cast<double>(s.loss), values);
    bar.show(static_cast<double>(s.step) / static_cast<double>(c.steps),
             fmt::format("step {} loss {:.3f}", s.step, s.loss));
    if (last || (c.save_every > 0 && s.step % c.save_every == 0)) save();
  }
  bar.clear();
  if (saved < run.steps_done() || hash.empty()) save();
  const Peak peak = measure_peak();
  fmt::print(out, "peak memory {} ({}), checkpoint {}, curve {}/loss.svg\nweights {}\n", human(peak.bytes), peak.source,
             run.checkpoint_path(), c.folder, hash);
  Json doc = document("train", &machine, c.seed);
  doc.add("steps", run.steps_done()).add("loss", static_cast<double>(s.loss));
  for (const auto& [name, value] : last_values) doc.add(name, value);
  doc.add("seconds", seconds).add("predicted_seconds", predicted * static_cast<double>(steps));
  doc.add(units_key(task), units * steps).add("peak_bytes", peak.bytes).add("peak_source", peak.source);
  doc.add("region_bytes", run.trainer().region_bytes()).add("live_bytes", run.trainer().live_bytes());
  doc.add("weights_sha256", hash);
  write_document(args, doc);
  if (run.steps_done() < c.steps) {
    say("terrace: interrupted after step {}; terrace train {} --resume goes on\n", run.steps_done(), origin);
    return exit_code(ErrorKind::interrupted);
  }
  return 0;
}

constexpr const char* kFlags[] = {"resume", "budget", "threads", "machine", "isa", "seed", "no-fuse"};

}  // namespace

const Verb kTrain = {"train",
                     kTrainHelp,
                     "CONFIG.toml [FLAGS]",
                     "  terrace train examples/char_gpt.toml\n"
                     "  terrace train examples/char_gpt.toml --resume\n",
                     kFlags,
                     train};

}  // namespace terrace::cli
