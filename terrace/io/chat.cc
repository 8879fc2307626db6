#include <fmt/format.h>

#include "terrace/core/error.h"
#include "terrace/io/tokenizer.h"

namespace terrace::io {
namespace {

constexpr std::string_view kStart = "<|im_start|>", kEnd = "<|im_end|>";
constexpr std::string_view kSystem = "<|im_start|>system";

/// What a template that is not ChatML seems to be, by its marks.
std::string_view family_of(std::string_view t) {
  constexpr std::string_view marks[][2] = {{"<|start_header_id|>", "Llama 3"},
                                           {"<start_of_turn>", "Gemma"},
                                           {"[INST]", "Llama 2 or Mistral"},
                                           {"<|start|>", "Harmony"},
                                           {"<|user|>", "Zephyr or Phi-3"},
                                           {"<|User|>", "DeepSeek"},
                                           {"<|START_OF_TURN_TOKEN|>", "Command R"},
                                           {"### Instruction", "Alpaca"},
                                           {"USER:", "Vicuna"}};
  for (const auto& m : marks)
    if (t.find(m[0]) != std::string_view::npos) return m[1];
  return "an unknown family";
}

/// A Jinja string literal's escapes.
std::string unescape(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\' || i + 1 == s.size()) {
      out += s[i];
      continue;
    }
    const char c = s[++i];
    out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
  }
  return out;
}

/// The system text that the template writes out itself: "<|im_start|>system\n" TEXT "<|im_end|>" inside one literal.
std::optional<std::string> default_system(std::string_view t) {
  for (std::size_t at = t.find(kSystem); at != std::string_view::npos; at = t.find(kSystem, at + 1)) {
    std::string_view rest = t.substr(at + kSystem.size());
    if (rest.substr(0, 2) == "\\n")
      rest.remove_prefix(2);
    else if (rest.substr(0, 1) == "\n")
      rest.remove_prefix(1);
    else
      continue;
    const std::size_t end = rest.find(kEnd);
    if (end == std::string_view::npos) break;
    const std::string_view text = rest.substr(0, end);
    // The quote that opened the literal ends it, and what follows is computed; outside a literal a brace does that.
    const char before = at == 0 ? '\0' : t[at - 1];
    const std::string_view stops = before == '\'' ? "'" : before == '"' ? "\"" : "{}";
    bool literal = true;
    for (std::size_t i = 0; i < text.size() && literal; ++i) {
      if (text[i] == '\\')
        ++i;
      else
        literal = stops.find(text[i]) == std::string_view::npos;
    }
    if (literal && !text.empty()) return unescape(text);
  }
  return std::nullopt;
}

void append(std::string& out, std::string_view role, std::string_view content) {
  out.append(kStart).append(role).append("\n").append(content).append(kEnd).append("\n");
}

}  // namespace

std::string render_chat(const std::optional<std::string>& template_text, const std::vector<ChatMessage>& messages) {
  const std::string hint = "give the prompt as it is, without a template (--raw)";
  if (!template_text)
    throw Error(ErrorKind::bad_file, "the model has no chat template", "key 'tokenizer.chat_template'", hint);
  if (template_text->find(kStart) == std::string::npos || template_text->find(kEnd) == std::string::npos)
    throw Error(
        ErrorKind::bad_file,
        fmt::format("chat template not supported: it looks like {}, only ChatML is known", family_of(*template_text)),
        "key 'tokenizer.chat_template'", hint);
  std::string out;
  if (messages.empty() || messages.front().role != "system") {
    if (const std::optional<std::string> text = default_system(*template_text)) append(out, "system", *text);
  }
  for (const ChatMessage& m : messages) append(out, m.role, m.content);
  return out.append(kStart).append("assistant\n");
}

}  // namespace terrace::io
