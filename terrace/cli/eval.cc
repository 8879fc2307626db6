// terrace eval: perplexity of a text, and how far one model is from another.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/scoring.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/reserve.h"

namespace terrace::cli {
namespace {

constexpr i64 kChunk = 64;  // tokens in a step: each has a whole row of logits

TextOptions scoring_options(const Args& args, const std::string& path) {
  TextOptions o = text_options(args, path);
  o.context = args.integer("ctx", 512, 4, i64{1} << 24);
  o.prompt_chunk = std::min(args.integer("prompt-chunk", kChunk, 1, 1 << 16), o.context);
  o.logits = nn::Logits::all;
  o.needs_tokenizer = false;
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

/// Scores all windows. With two models the first is ours, the second what it is compared with.
void score(std::span<TextModel* const> models, const Windows& w, Perplexity& ours, Distance& distance) {
  Bar bar("scoring");
  std::vector<double> a, b;
  for (i64 c = 0; c < w.chunks; ++c) {
    bar.show(static_cast<double>(c) / static_cast<double>(w.chunks));
    const std::vector<i32> window = w.window(c);
    score_window(models, window, cancelled(), [&](i64 position, auto rows) {
      const auto next = static_cast<std::size_t>(window[static_cast<std::size_t>(position) + 1]);
      log_softmax(rows[0], a);
      ours.add(-a[next]);
      if (models.size() == 1) return;
      log_softmax(rows[1], b);
      distance.reference.add(-b[next]);
      distance.kl.push_back(divergence(b, a));
      distance.same_top += top(a) == top(b);
    });
  }
}

/// Options of the model of --against or --against-f32.
std::optional<TextOptions> other_options(const Args& args, const std::string& path) {
  if (args.has("against") && args.has("against-f32"))
    throw Error(ErrorKind::usage, "--against and --against-f32 do not go together");
  if (!args.has("against") && !args.has("against-f32")) return std::nullopt;
  TextOptions o = scoring_options(args, args.text("against", path));
  if (args.has("against-f32")) o.quantize_activations = false;
  size_of_file(o.path);
  return o;
}

/// The models to score with, in one process: with a budget each gets what it needs at least, the other a share of the
/// rest by the size of its file, and ours what that leaves. `aside`: the caller's own.
std::vector<std::unique_ptr<TextModel>> open_both(TextOptions ours, TextOptions other, const Machine& machine,
                                                  Bytes aside) {
  if (other.budget) {
    const auto least_of = [&](TextOptions o) {
      o.budget.reset();
      return TextModel(o, machine).plan().smallest_budget;
    };
    const Bytes least[2] = {least_of(ours), least_of(other)}, budget = *ours.budget;
    Bytes once;  // in the account of both
    for (const Reserve& r : process_reserves(machine.main_memory(), {}))
      if (r.name == kBinaryReserve) once = r.bytes;
    const Bytes need = least[0] + least[1] - once + Bytes{round_up(aside.count, 4096)};
    if (budget < need)
      throw Error(ErrorKind::does_not_fit,
                  fmt::format("a budget of {} is too small for two models: {} and {} at least, windows and scores {}",
                              human(budget), human(least[0]), human(least[1]), human(aside)),
                  machine.tier(machine.main_memory()).id,
                  fmt::format("the smallest budget that would do is {} bytes, or ask for a smaller --ctx", need.count))
          .with_smallest_budget(need);
    const double a = static_cast<double>(size_of_file(ours.path).count),
                 b = static_cast<double>(size_of_file(other.path).count);
    other.budget = least[1] + Bytes{static_cast<u64>(static_cast<double>((budget - need).count) * (b / (a + b)))};
  }
  std::vector<std::unique_ptr<TextModel>> models(2);
  models[1] = std::make_unique<TextModel>(other, machine);
  ours.beside = aside + models[1]->bytes_beside();
  models[0] = std::make_unique<TextModel>(ours, machine);
  if (models[1]->model().config.vocabulary != models[0]->model().config.vocabulary)
    throw Error(ErrorKind::usage, "the two models have vocabularies of different sizes", "--against");
  return models;
}

int eval(const Args& args) {
  const std::string path = args.word(0, "a model file");
  args.at_most(1);
  if (!args.has("text")) throw Error(ErrorKind::usage, "terrace eval needs a text", {}, "--text FILE");
  TextOptions options = scoring_options(args, path);
  options.budget = budget_of(args, path);
  size_of_file(path);
  auto other = other_options(args, path);
  probe_if_unknown(args, path);
  const Windows w = windows_of(args, options);
  Distance d;
  if (other) d.kl.reserve(static_cast<std::size_t>(w.chunks * w.scored()));
  const Bytes aside = w.bytes() + Bytes{d.kl.capacity() * sizeof(double)};
  const Machine machine = machine_of(args);
  std::vector<std::unique_ptr<TextModel>> models;
  if (other) {
    other->budget = options.budget;
    models = open_both(options, *other, machine, aside);
  } else {
    options.beside = aside;
    models.push_back(std::make_unique<TextModel>(options, machine));
  }
  std::vector<TextModel*> scored;
  for (const auto& m : models) {
    load_weights(*m, args);
    scored.push_back(m.get());
  }
  Perplexity ours;
  score(scored, w, ours, d);

  std::FILE* out = text_stream(args);
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
