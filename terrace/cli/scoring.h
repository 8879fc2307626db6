// Windows of a text and how well a model foretells them, as llama-perplexity does it.
#pragma once

#include <functional>
#include <string>
#include <vector>

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
};

/// `chunks` 0: all there are. Error(usage) when the text is shorter than asked.
Windows read_windows(const io::Tokenizer& tokenizer, const std::string& text, i64 context, i64 chunks);

/// Runs one window through a model made with Logits::all; `row(position, logits)` for every scored position in order.
void score_window(TextModel& model, const std::vector<i32>& window, const std::atomic<bool>& cancel,
                  const std::function<void(i64 position, std::span<const float>)>& row);

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
