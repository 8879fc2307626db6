// Windows of a text and how well a model foretells them, as llama-perplexity does it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "terrace/cli/args.h"
#include "terrace/program/text_model.h"

namespace terrace::cli {

/// A text cut into windows that do not overlap. The second half of each is scored: logits at [context / 2, context - 2]
/// foretell the tokens one further.
struct Windows {
  std::vector<i32> ids;
  i64 context = 0, chunks = 0;
  std::optional<i32>
      first;  ///< stands in for the first token of each window: where the tokenizer begins texts with one
  std::vector<i32> window(i64 chunk) const;
  i64 scored() const { return context - 1 - context / 2; }
  /// What they hold, with the window that is scored.
  Bytes bytes() const { return Bytes{(ids.capacity() + static_cast<u64>(context)) * sizeof(i32)}; }
};

/// `chunks` 0: all there are. Error(usage) when the text is shorter than asked.
Windows read_windows(const io::Tokenizer& tokenizer, const std::string& text, i64 context, i64 chunks);

/// Windows of --text, --chunks and the options' context. Takes the model's tokenizer only meanwhile.
/// Error(does_not_fit) for a text that cannot be cut within the options' budget.
Windows windows_of(const Args& args, const TextOptions& options);

/// Runs one window through models made with Logits::all, all of them a step at a time, so that nothing has to be kept:
/// `row(position, logits of each model)` for every scored position in order.
using ScoredRow = std::function<void(i64 position, std::span<const std::span<const float>> logits)>;
void score_window(std::span<TextModel* const> models, const std::vector<i32>& window, const std::atomic<bool>& cancel,
                  const ScoredRow& row);

/// Log-probabilities of a row of logits in double precision: out[i] = logits[i] - log(sum(exp(logits))).
void log_softmax(std::span<const float> logits, std::vector<double>& out);

/// Mean of -log p, its perplexity and standard error (of the perplexity).
struct Perplexity {
  double sum = 0, sum2 = 0;
  i64 n = 0;
  void add(double nll) { sum += nll, sum2 += nll * nll, ++n; }
  double value() const;
  double error() const;
};

}  // namespace terrace::cli
