// terrace eval: perplexity of a text, and how far one model is from another.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/scoring.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

constexpr i64 kChunk = 64;  // tokens in a step: each has a whole row of logits

TextOptions scoring_options(const Args& args, const std::string& path) {
  TextOptions o = text_options(args, path);
  o.context = args.integer("ctx", 512, 4, i64{1} << 24);
  o.prompt_chunk = std::min(args.integer("prompt-chunk", kChunk, 1, 1 << 16), o.context);
  o.logits = nn::Logits::all;
  o.budget = budget_of(args, path);
  return o;
}

struct Distance {
  std::vector<double> kl;
  i64 same_top = 0;
  Perplexity reference;
};

/// Kullback-Leibler divergence of `ours` from `reference`, both log-probabilities, in nats.
double divergence(const std::vector<double>& reference, const std::vector<double>& ours) {
  double sum = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) sum += std::exp(reference[i]) * (reference[i] - ours[i]);
  return sum;
}

std::size_t top(const std::vector<double>& v) {
  return static_cast<std::size_t>(std::max_element(v.begin(), v.end()) - v.begin());
}

/// Scores all windows, the other model's rows beside ours: a window's rows of the other are kept as logits meanwhile.
void score(TextModel& model, TextModel* other, const Windows& w, Perplexity& ours, Distance& distance) {
  Bar bar("scoring");
  std::vector<float> rows;
  std::vector<double> a, b;
  for (i64 c = 0; c < w.chunks; ++c) {
    bar.show(static_cast<double>(c) / static_cast<double>(w.chunks));
    const std::vector<i32> window = w.window(c);
    rows.clear();
    if (other)
      score_window(*other, window, cancelled(),
                   [&](i64, std::span<const float> row) { rows.insert(rows.end(), row.begin(), row.end()); });
    score_window(model, window, cancelled(), [&](i64 position, std::span<const float> row) {
      const auto next = static_cast<std::size_t>(window[static_cast<std::size_t>(position) + 1]);
      log_softmax(row, a);
      ours.add(-a[next]);
      if (!other) return;
      const auto index = static_cast<std::size_t>(position - w.context / 2) * row.size();
      log_softmax({rows.data() + index, row.size()}, b);
      distance.reference.add(-b[next]);
      distance.kl.push_back(divergence(b, a));
      distance.same_top += top(a) == top(b);
    });
  }
}

std::unique_ptr<TextModel> open_other(const Args& args, const std::string& path, const TextModel& model) {
  if (args.has("against") && args.has("against-f32"))
    throw Error(ErrorKind::usage, "--against and --against-f32 do not go together");
  if (!args.has("against") && !args.has("against-f32")) return nullptr;
  TextOptions o = scoring_options(args, args.text("against", path));
  if (args.has("against-f32")) o.quantize_activations = false;
  o.needs_tokenizer = false;
  auto other = std::make_unique<TextModel>(o, machine_of(args));
  if (other->model().config.vocabulary != model.model().config.vocabulary)
    throw Error(ErrorKind::usage, "the two models have vocabularies of different sizes", "--against");
  load_weights(*other, args);
  return other;
}

int eval(const Args& args) {
  const std::string path = args.word(0, "a model file");
  args.at_most(1);
  if (!args.has("text")) throw Error(ErrorKind::usage, "terrace eval needs a text", {}, "--text FILE");
  const TextOptions options = scoring_options(args, path);
  size_of_file(path);
  probe_if_unknown(args, path);
  TextModel model(options, machine_of(args));
  const Windows w = read_windows(model.tokenizer(), read_file(*args.text("text")), options.context,
                                 args.integer("chunks", 0, 1, 1 << 24));
  const auto other = open_other(args, path, model);
  load_weights(model, args);
  Perplexity ours;
  Distance d;
  score(model, other.get(), w, ours, d);

  std::FILE* out = text_stream(args);
  const Machine& machine = model.program().machine();
  Json doc = document("eval", &machine);
  doc.add("perplexity", ours.value()).add("n_tokens", ours.n).add("stderr", ours.error());
  doc.add("context", w.context).add("chunks", w.chunks);
  fmt::print(out, "perplexity       {:.4f} +- {:.4f}   ({} tokens, {} windows of {})\n", ours.value(), ours.error(),
             ours.n, w.chunks, w.context);
  if (other) {
    const double n = static_cast<double>(d.kl.size());
    double sum = 0;
    for (const double x : d.kl) sum += x;
    const auto p99 = d.kl.begin() + static_cast<std::ptrdiff_t>(std::min(d.kl.size() - 1, d.kl.size() * 99 / 100));
    std::nth_element(d.kl.begin(), p99, d.kl.end());
    const double ratio = ours.value() / d.reference.value(), same = static_cast<double>(d.same_top) / n;
    doc.add("reference_perplexity", d.reference.value()).add("perplexity_ratio", ratio);
    doc.add("kl_mean", sum / n).add("kl_p99", *p99).add("same_top", same);
    fmt::print(out,
               "reference        {:.4f}   ratio {:.5f}\nKL divergence    mean {:.6f}   99 % below {:.6f}\nsame top "
               "token   {:.2f} %\n",
               d.reference.value(), ratio, sum / n, *p99, same * 100);
  }
  write_document(args, doc);
  return 0;
}

constexpr const char* kFlags[] = {"text", "ctx",         "chunks",  "against", "against-f32", "budget",      "threads",
                                  "kv",   "activations", "machine", "io",      "isa",         "prompt-chunk"};

}  // namespace

const Verb kEval = {"eval",
                    "perplexity of a text, and the distance between two models",
                    "MODEL --text FILE [FLAGS]",
                    "  terrace eval model.gguf --text wiki.test.txt --ctx 512 --chunks 8\n"
                    "  terrace eval model.gguf --text wiki.test.txt --chunks 8 --against-f32\n",
                    kFlags,
                    eval};

}  // namespace terrace::cli
