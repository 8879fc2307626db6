#include "terrace/cli/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "terrace/cli/term.h"
#include "terrace/core/error.h"
#include "terrace/program/reserve.h"

namespace terrace::cli {
namespace {

/// Most tokens that one step of the plan takes.
i64 step_limit(TextModel& model) {
  const auto n = static_cast<std::size_t>(*model.program().graph().find_symbol("n"));
  i64 most = 1;
  for (const Body& b : model.plan().bodies)
    if (!b.once) most = std::max(most, b.symbols[n].hi);
  return most;
}

}  // namespace

std::vector<i32> Windows::window(i64 chunk) const {
  const auto begin = ids.begin() + chunk * context;
  std::vector<i32> w(begin, begin + context);
  if (first) w.front() = *first;
  return w;
}

Windows read_windows(const io::Tokenizer& tokenizer, const std::string& text, i64 context, i64 chunks) {
  Windows w;
  w.context = context;
  if (tokenizer.add_bos()) w.first = tokenizer.bos();
  w.ids = tokenizer.encode(text, false);
  if (w.first) w.ids.insert(w.ids.begin(), *w.first);
  const i64 there = static_cast<i64>(w.ids.size()) / context;
  if (there < std::max<i64>(1, chunks))
    throw Error(ErrorKind::usage, fmt::format("the text has {} tokens: {} windows of {}", w.ids.size(), there, context),
                "--text", "fewer --chunks, a smaller --ctx or a longer text");
  w.chunks = chunks > 0 ? chunks : there;
  w.ids.resize(static_cast<std::size_t>(w.chunks * context));
  w.ids.shrink_to_fit();
  return w;
}

Windows windows_of(const Args& args, const TextOptions& options) {
  const Model model = open_model(options.path);
  const io::Tokenizer tokenizer(model.file);
  const std::string text = read_file(*args.text("text"));
  // The text; at most a token a byte; and while they are copied, the copy.
  Bytes need{text.size() + 2 * sizeof(i32) * text.size() + tokenizer.memory_bytes()};
  for (const Reserve& r : process_reserves(0, {})) need += r.bytes;
  if (options.budget && *options.budget < need)
    throw Error(ErrorKind::does_not_fit,
                fmt::format("a budget of {} is too small to cut this text into tokens", human(*options.budget)),
                "--text", "a shorter text")
        .with_smallest_budget(need);
  return read_windows(tokenizer, text, options.context, args.integer("chunks", 0, 1, 1 << 24));
}

void score_window(std::span<TextModel* const> models, const std::vector<i32>& window, const std::atomic<bool>& cancel,
                  const ScoredRow& row) {
  const auto n = static_cast<i64>(window.size());
  const i64 first = n / 2, last = n - 2;
  i64 step = n;  // a row's bits do not depend on it
  for (TextModel* m : models) {
    m->reset();
    step = std::min(step, step_limit(*m));
  }
  Phase unused;
  std::vector<std::span<const float>> logits(models.size()), rows(models.size());
  for (i64 begin = 0; begin <= last; begin += step) {
    const i64 count = std::min(step, n - 1 - begin);  // what follows the last token is of no interest
    for (std::size_t m = 0; m < models.size(); ++m) {
      models[m]->prefill({window.data() + begin, static_cast<std::size_t>(count)}, unused, &cancel);
      logits[m] = models[m]->logits();
    }
    for (i64 i = std::max<i64>(0, first - begin); i < count; ++i) {
      for (std::size_t m = 0; m < models.size(); ++m) {
        const std::size_t width = logits[m].size() / static_cast<std::size_t>(count);
        rows[m] = logits[m].subspan(static_cast<std::size_t>(i) * width, width);
      }
      row(begin + i, rows);
    }
  }
}

void log_softmax(std::span<const float> logits, std::vector<double>& out) {
  out.resize(logits.size());
  const double most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - most);
  const double shift = most + std::log(sum);
  for (std::size_t i = 0; i < logits.size(); ++i) out[i] = static_cast<double>(logits[i]) - shift;
}

double Perplexity::value() const { return std::exp(sum / static_cast<double>(n)); }

double Perplexity::error() const {
  if (n < 2) return 0;
  const double mean = sum / static_cast<double>(n), variance = sum2 / static_cast<double>(n) - mean * mean;
  return std::sqrt(std::max(0.0, variance) / static_cast<double>(n - 1)) * value();
}

}  // namespace terrace::cli
