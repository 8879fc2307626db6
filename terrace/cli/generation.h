// One answer: prompt in, text out as it comes, with what run and chat share.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "terrace/cli/report.h"
#include "terrace/program/text_model.h"

namespace terrace::cli {

/// Token ids of a text as a whole prompt: with the token that begins a text where the tokenizer adds one.
std::vector<i32> prompt_ids(const io::Tokenizer& tokenizer, std::string_view text, bool special);
/// The model's chat template; nothing if it has none.
std::optional<std::string> chat_template(const io::GgufFile& file);

/// Generates, writing text to `out` as it comes.
GenerateResult generate_to(TextModel& model, std::span<const i32> prompt, const GenerateOptions& options,
                           std::FILE* out);

Json ids_json(std::span<const i32> ids);

}  // namespace terrace::cli
