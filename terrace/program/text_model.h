// A language model under one budget: tokens in, tokens out, with what was predicted, measured and possible.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "terrace/io/tokenizer.h"
#include "terrace/program/bound.h"
#include "terrace/program/model.h"
#include "terrace/program/program.h"
#include "terrace/program/sampler.h"

namespace terrace {

struct TextOptions {
  std::string path;
  std::optional<Bytes> budget;  ///< whole process, main memory; none: everything resident, no limit
  i64 context = 512;            ///< rows of the cache
  i64 prompt_chunk = 512;       ///< most tokens in a step
  int threads = 1;
  Isa isa = Isa::portable;
  DType kv_dtype = DType::f16;
  Layout kv_layout = Layout::dense;
  bool quantize_activations = true;
  nn::Logits logits = nn::Logits::last;
  bool needs_tokenizer = true;
  Bytes beside;                     ///< of the budget, what others in the process hold: bytes_beside() of another model
  std::optional<Plan> plan;         ///< use this plan instead of making one
  std::optional<BoundRates> rates;  ///< default: the machine's
};

/// One phase of a generation.
struct Phase {
  i64 n_tokens = 0;
  double seconds = 0;            ///< measured, by the wall clock (sampling included)
  double predicted_seconds = 0;  ///< the simulator's makespan on the machine
  double bound_seconds = 0;      ///< physics; docs/interface.md
  std::string bound_by;
  Totals totals;  ///< of the engine: bytes, seconds inside it
};

struct GenerateOptions {
  i64 max_tokens = 256;
  SamplerOptions sampler;
  bool ignore_eos = false;
  std::function<bool(i32 id)> on_token;  ///< false stops
  const std::atomic<bool>* cancel = nullptr;
};

struct GenerateResult {
  std::vector<i32> output_ids;
  double first_token_seconds = 0;  ///< from the start of the prompt
  Phase prefill, decode;           ///< decode counts from the second generated token on
  std::string stop;                ///< "eos", "length", "callback", "cancelled"
};

class TextModel {
 public:
  /// Reads the header, builds, plans and verifies; reads no weights. The machine is the host (or a described one: then
  /// only predictions can be had).
  TextModel(const TextOptions& options, Machine machine);
  ~TextModel();

  const Model& model() const;
  const io::Tokenizer& tokenizer() const;  ///< Error(usage) without one
  Program& program();
  const Plan& plan() const;
  i64 context() const;
  /// Of main memory, what this model takes in a process that others share with it: its whole account but the program's
  /// own pages and what TextOptions::beside named.
  Bytes bytes_beside() const;

  /// What a prompt and an answer of at most these tokens will take is predicted first, and kept for generate() until
  /// the next call. Call it before load(): predicting needs memory of its own.
  void predict(i64 prompt_tokens, i64 max_tokens);
  /// Brings weights in; seconds are in load_seconds(). Error(failure), with nothing loaded, if the file was written or
  /// replaced since its header was read.
  void load(const HostOptions& options);
  double load_seconds() const;

  /// Feeds tokens in chunks; afterwards logits() are those of the last. Adds to `phase`.
  void prefill(std::span<const i32> ids, Phase& phase, const std::atomic<bool>* cancel = nullptr);
  /// Logits of the last step, [rows, vocabulary] packed (one row with Logits::last).
  std::span<const float> logits() const;
  i64 position() const;
  /// Forgets all tokens.
  void reset();

  /// Continues after the tokens seen so far. Error(usage) if prompt and answer exceed the context. Predicted seconds
  /// are those of predict() for this prompt; 0 without it.
  GenerateResult generate(std::span<const i32> prompt, const GenerateOptions& options);
  /// The same, only predicted: no weights, no arithmetic. Seconds and bytes are the simulator's; `decode_tokens` counts
  /// the steps after the prompt's, `begin` the tokens seen before.
  GenerateResult simulate(i64 prompt_tokens, i64 decode_tokens, i64 begin = 0);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace
