// A checkpoint of `terrace train` that continues texts.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/io/tokenizer.h"
#include "terrace/nn/gpt.h"
#include "terrace/program/program.h"
#include "terrace/program/sampler.h"

namespace terrace {

/// The kinds of tokens as a checkpoint names them: two hexadecimal digits a byte.
std::string letters_to_hex(std::string_view letters);

class GptModel {
 public:
  /// Reads weights and vocabulary. Error(bad_file) for what is no checkpoint of a model known here, or an altered one,
  /// and if the file with its tokenizer is not where it was, or has another.
  GptModel(const std::string& checkpoint, Machine machine, int threads, Isa isa);

  const nn::GptConfig& config() const { return config_; }
  Program& program() { return *program_; }
  /// Error(usage) naming the first byte that the training text did not have.
  std::vector<i32> encode(std::string_view text) const;
  /// The bytes of a token.
  std::string piece(i32 token) const;

  /// Up to `count` tokens after the prompt, each told to `on_token` (false: stop). Where the context is full, its later
  /// half becomes the prompt. Returns false if `cancel` was set.
  bool generate(std::vector<i32> prompt, i64 count, const SamplerOptions& sampler,
                const std::function<bool(i32)>& on_token, const std::atomic<bool>* cancel = nullptr);
  /// Logits of the last of these tokens, at positions `at` and up; the earlier positions have been fed before.
  std::span<const float> feed(std::span<const i32> tokens, i64 at);

 private:
  nn::GptConfig config_;
  std::string letters_;  ///< the byte of each token, or
  std::unique_ptr<io::Tokenizer> tokenizer_;
  std::unique_ptr<Program> program_;
  ValueId ids_ = kNone, logits_ = kNone;
};

}  // namespace terrace
