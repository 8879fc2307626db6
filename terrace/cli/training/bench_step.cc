// terrace bench step: a training step of a model of random weights, its time by class of ops beside the roofline.
#include <fmt/format.h>

#include <algorithm>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/peak.h"
#include "terrace/cli/session.h"
#include "terrace/cli/term.h"
#include "terrace/cli/training/bench.h"
#include "terrace/core/error.h"
#include "terrace/nn/bert.h"
#include "terrace/nn/gpt.h"
#include "terrace/passes/fuse.h"
#include "terrace/program/class_table.h"
#include "terrace/program/trainer.h"

namespace terrace::cli {
namespace {

constexpr const char* kModels[] = {"gpt2", "bert", "char"};
constexpr const char* kAttentions[] = {"flash", "standard"};

struct Shape {
  std::size_t model = 0;
  i64 layers = 12, length = 1024, batch = 1;
  double dropout = 0;
  nn::AttentionKind attention = nn::AttentionKind::flash;
};

/// A training step: AdamW in parts, for the passes to fuse.
struct TrainingGraph {
  Graph graph;
  nn::Update update;
  std::vector<nn::Parameter> parameters;
  std::vector<ValueId> inputs;
  i64 vocabulary = 0, parameter_count = 0;
};

template <class Model>
void build(TrainingGraph& t, GraphBuilder& b, Model model, const Shape& s) {
  t.parameters = model.parameters();
  const TensorSpec window{DType::i32, Layout::dense, {Dim(s.batch), Dim(s.length)}};
  t.inputs = {b.input("ids", window), b.input("targets", window)};
  const ValueId step = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
  nn::AdamW adamw;
  adamw.one_pass = false;
  t.update = nn::add_adamw(
      b, [&](i64) { return model.loss(t.inputs[0], t.inputs[1], step, true); }, 1, t.parameters, step, adamw);
}

TrainingGraph build(const Shape& s) {
  TrainingGraph t;
  GraphBuilder b;
  if (s.model == 1) {
    nn::BertConfig c;
    c.layers = s.layers;
    c.context = std::max(c.context, s.length);
    c.dropout = s.dropout;
    c.attention = s.attention;
    t.vocabulary = c.vocabulary;
    build(t, b, nn::Bert(b, c), s);
  } else {
    nn::GptConfig c;
    c.layers = s.layers;
    c.context = s.length;
    c.dropout = s.dropout;
    c.attention = s.attention;
    c.biases = s.model == 0;
    if (s.model == 0) c.vocabulary = 50257, c.width = 768, c.heads = 12;
    t.vocabulary = c.vocabulary;
    build(t, b, nn::Gpt(b, c), s);
  }
  b.output(t.update.loss);
  t.graph = b.finish();
  for (const nn::Parameter& p : t.parameters)
    t.parameter_count += static_cast<i64>(t.graph.value(p.value).spec.bytes({}).count / sizeof(float));
  return t;
}

void fuse(TrainingGraph& t, const std::vector<std::string>& without) {
  passes::Rewritten r = passes::fuse(t.graph, without, t.update.changed);
  t.update = nn::renumbered(t.update, r.value);
  t.parameters = nn::renumbered(t.parameters, r.value);
  for (ValueId& v : t.inputs) v = r.value[v];
  t.graph = std::move(r.graph);
}

/// A class over all steps that were measured.
struct Measured {
  ClassRow row;  ///< of the median
  double min = 0, max = 0;
};
Measured summed_up(std::vector<ClassRow> of_steps) {
  std::sort(of_steps.begin(), of_steps.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  return {of_steps[of_steps.size() / 2], of_steps.front().seconds, of_steps.back().seconds};
}

std::vector<Trace> run(Trainer& trainer, const TrainingGraph& t, i64 repeats) {
  std::vector<std::vector<i32>> tokens(2);
  std::vector<InputBinding> in;
  const i64 n = t.graph.value(t.inputs[0]).spec.rows({}) * t.graph.value(t.inputs[0]).spec.columns({});
  for (std::size_t i = 0; i < 2; ++i) {
    for (i64 j = 0; j < n; ++j)  // any that do not repeat soon
      tokens[i].push_back(static_cast<i32>((j * 7919 + static_cast<i64>(i) * 104729) % t.vocabulary));
    in.push_back({t.inputs[i], std::as_bytes(std::span(tokens[i]))});
  }
  std::vector<Trace> traces;
  Bar bar("measuring");
  trainer.step(in);  // touches all memory
  for (i64 i = 0; i < repeats; ++i) {
    bar.show(static_cast<double>(i) / static_cast<double>(repeats));
    trainer.step(in);
    traces.push_back(trainer.trace());
  }
  bar.clear();
  return traces;
}

/// Classes, then the whole step.
std::vector<Measured> by_class(const Trainer& trainer, const std::vector<Trace>& traces, const Trace& predicted,
                               const Roofline& roofline) {
  std::vector<std::vector<ClassRow>> classes;
  for (const Trace& trace : traces) {
    std::vector<ClassRow> rows = class_table(trainer.graph(), trainer.plan(), trace, predicted, roofline);
    ClassRow all{"step", 0, trace.totals.seconds, predicted.totals.seconds, 0, {}, 0};
    for (const ClassRow& r : rows) {
      all.steps += r.steps;
      all.flops += r.flops;
      all.bytes += r.bytes;
      all.bound_seconds += r.bound_seconds;
    }
    rows.push_back(std::move(all));
    classes.resize(rows.size());
    for (std::size_t c = 0; c < rows.size(); ++c) classes[c].push_back(std::move(rows[c]));
  }
  std::vector<Measured> all;
  for (std::vector<ClassRow>& rows : classes) all.push_back(summed_up(std::move(rows)));
  return all;
}

void print(std::FILE* out, const std::vector<Measured>& rows) {
  fmt::print(out, "\n{:<15}{:>6}{:>11}{:>8}{:>11}{:>10}{:>9}{:>10}{:>8}{:>11}{:>10}\n", "class", "steps", "measured",
             "share", "predicted", "GFLOP", "GB", "GFLOP/s", "GB/s", "roofline", "measured/");
  const double step = rows.back().row.seconds;
  for (const auto& [r, min, max] : rows) {
    const double gflop = r.flops / 1e9, gb = static_cast<double>(r.bytes.count) / 1e9;
    fmt::print(out, "{:<15}{:>6}{:>10.4f}s{:>7.1f}%{:>10.4f}s{:>10.2f}{:>9.3f}{:>10.1f}{:>8.1f}{:>10.4f}s", r.name,
               r.steps, r.seconds, 100 * r.seconds / step, r.predicted_seconds, gflop, gb,
               r.seconds > 0 ? gflop / r.seconds : 0, r.seconds > 0 ? gb / r.seconds : 0, r.bound_seconds);
    fmt::print(out, "{:>10}\n", r.bound_seconds > 0 ? fmt::format("{:.2f}", r.seconds / r.bound_seconds) : "");
  }
}

Json rows_of(const std::vector<Measured>& rows) {
  Json all = Json::array();
  for (const auto& [r, min, max] : rows) {
    Json j = bench_row(r.name, r.seconds, min, max, r.bound_seconds, "seconds");
    j.add("steps", r.steps).add("predicted_seconds", r.predicted_seconds).add("flops", r.flops).add("bytes", r.bytes);
    all.push(j);
  }
  return all;
}

}  // namespace

int bench_step(const Args& args) {
  Shape s;
  s.model = args.choice("model", kModels);
  const bool small = s.model == 2;
  s.layers = args.integer("layers", small ? 4 : 12, 1, 1000);
  s.length = args.integer("length", small ? 64 : s.model == 1 ? 512 : 1024, 1, 1 << 16);
  s.batch = args.integer("batch", small ? 12 : 1, 1, 1 << 16);
  s.dropout = args.number("dropout", 0, 0, 0.99);
  s.attention = args.choice("attention", kAttentions) == 0 ? nn::AttentionKind::flash : nn::AttentionKind::standard;
  const i64 repeats = args.integer("repeats", 5, 1, 1000);
  TrainerOptions options;
  options.budget = budget_of(args, "");
  options.threads = threads_of(args);
  options.isa = isa_of(args);
  const std::vector<std::string> without = no_fuse_of(args);

  TrainingGraph t = build(s);
  const std::size_t nodes = t.graph.nodes().size();
  fuse(t, without);
  const Roofline before = measure_roofline(options.threads, options.isa);
  const Machine machine = machine_of(args);
  Trainer trainer(GraphBuilder(t.graph).finish(), t.update, t.parameters, machine, options);
  trainer.start(1);
  const std::vector<Trace> traces = run(trainer, t, repeats);
  const Peak peak = measure_peak();
  const Roofline roofline = measure_roofline(options.threads, options.isa, before);
  const std::vector<Measured> rows = by_class(trainer, traces, trainer.prediction(), roofline);
  std::FILE* out = text_stream(args);
  fmt::print(
      out,
      "a training step: {}, {} layers, {:.1f} M parameters, batch {} of {} tokens, {} attention, dropout {}; "
      "{} nodes fused to {}\n{} threads, {}; roofline: products {:.0f} GFLOP/s, memory {:.1f} GB/s; memory planned "
      "{}, peak {} ({})\n",
      kModels[s.model], s.layers, static_cast<double>(t.parameter_count) / 1e6, s.batch, s.length,
      kAttentions[s.attention == nn::AttentionKind::standard], s.dropout, nodes, t.graph.nodes().size(),
      options.threads, name_of(options.isa), roofline.peak.value / 1e9, roofline.bandwidth.value / 1e9,
      human(trainer.plan().total_bytes(machine.main_memory())), human(peak.bytes), peak.source);
  print(out, rows);
  Json doc = document("bench", &machine);
  doc.add("what", "step").add("model", kModels[s.model]).add("layers", s.layers).add("length", s.length);
  doc.add("batch", s.batch).add("attention", kAttentions[s.attention == nn::AttentionKind::standard]);
  doc.add("parameters", t.parameter_count).add("threads", options.threads).add("isa", name_of(options.isa));
  doc.add("peak_ops", roofline.peak.value).add("memory_Bps", roofline.bandwidth.value);
  doc.add("peak_bytes", peak.bytes).add("peak_source", peak.source).add("rows", rows_of(rows));
  write_document(args, doc);
  return 0;
}

}  // namespace terrace::cli
