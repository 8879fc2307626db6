// terrace tokenize: text on standard input as token ids and pieces.
#include <fmt/format.h>

#include "terrace/cli/generation.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"

namespace terrace::cli {
namespace {

int tokenize(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  const io::GgufFile file(path);
  const io::Tokenizer tokenizer(file);
  const std::vector<i32> ids = prompt_ids(tokenizer, read_file(args.text("text", "-"), 1 << 28), args.has("special"));
  std::FILE* out = text_stream(args);
  for (const i32 id : ids) fmt::print(out, "{:>7}  {}\n", id, Json::quote(tokenizer.piece(id, true)));
  if (args.has("json")) {
    Json pieces = Json::array();
    for (const i32 id : ids) pieces.push(tokenizer.piece(id, true));
    write_document(args, document("tokenize").add("ids", ids_json(ids)).add("pieces", pieces));
  }
  return 0;
}

constexpr const char* kFlags[] = {"text", "special"};

}  // namespace

const Verb kTokenize = {"tokenize",
                        "show the tokens of a text (standard input)",
                        "MODEL < TEXT",
                        "  echo 'Hello there' | terrace tokenize model.gguf\n"
                        "  terrace tokenize model.gguf --text story.txt --json tokens.json\n",
                        kFlags,
                        tokenize};

}  // namespace terrace::cli
