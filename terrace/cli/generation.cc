#include "terrace/cli/generation.h"

#include "terrace/cli/term.h"

namespace terrace::cli {

std::vector<i32> prompt_ids(const io::Tokenizer& tokenizer, std::string_view text, bool special) {
  std::vector<i32> ids = tokenizer.encode(text, special);
  const auto bos = tokenizer.bos();
  if (tokenizer.add_bos() && bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
  return ids;
}

std::optional<std::string> chat_template(const io::GgufFile& file) {
  return file.get_string("tokenizer.chat_template");
}

GenerateResult generate_to(TextModel& model, std::span<const i32> prompt, const GenerateOptions& options,
                           std::FILE* out) {
  CharacterStream stream(out);
  GenerateOptions g = options;
  const io::Tokenizer& tokenizer = model.tokenizer();
  g.on_token = [&](i32 id) {
    stream.write(tokenizer.piece(id));
    return !options.on_token || options.on_token(id);
  };
  GenerateResult r = model.generate(prompt, g);
  stream.finish();
  return r;
}

Json ids_json(std::span<const i32> ids) {
  Json j = Json::array();
  for (const i32 id : ids) j.push(id);
  return j;
}

}  // namespace terrace::cli
