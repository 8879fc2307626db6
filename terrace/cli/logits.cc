// terrace logits: the scored rows of logits as a NumPy file.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/scoring.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/io/npy.h"

namespace terrace::cli {
namespace {

int logits(const Args& args) {
  const std::string path = args.word(0, "a model file");
  args.at_most(1);
  const auto text = args.text("text"), out_path = args.text("out");
  if (!text || !out_path)
    throw Error(ErrorKind::usage, "terrace logits needs a text and a place", {}, "--text FILE --out X.npy");
  TextOptions options = text_options(args, path);
  options.context = args.integer("ctx", 512, 4, i64{1} << 24);
  options.prompt_chunk = std::min(args.integer("prompt-chunk", 64, 1, 1 << 16), options.context);
  options.logits = nn::Logits::all;
  options.budget = budget_of(args, path);
  size_of_file(path);
  probe_if_unknown(args, path);
  const Windows w = windows_of(args, options);
  options.needs_tokenizer = false;
  options.beside = w.bytes();
  TextModel model(options, machine_of(args));
  const EndInOrder patience;  // no half of a file is left
  load_weights(model, args);

  const std::vector<u64> shape = {static_cast<u64>(w.chunks), static_cast<u64>(w.scored()),
                                  static_cast<u64>(model.model().config.vocabulary)};
  io::NpyWriter npy(*out_path, shape);
  Bar bar("scoring");
  for (i64 c = 0; c < w.chunks; ++c) {
    bar.show(static_cast<double>(c) / static_cast<double>(w.chunks));
    score_window(std::array{&model}, w.window(c), cancelled(), [&](i64, auto rows) { npy.append(rows[0]); });
  }
  npy.close();
  bar.clear();
  fmt::print(text_stream(args), "{}: float32 [{}]\n", *out_path, fmt::join(shape, ", "));
  if (args.has("json")) {
    Json extents = Json::array();
    for (const u64 n : shape) extents.push(n);
    write_document(args, document("logits", &model.program().machine()).add("out", *out_path).add("shape", extents));
  }
  return 0;
}

constexpr const char* kFlags[] = {"text", "ctx",         "chunks",  "out", "budget", "threads",
                                  "kv",   "activations", "machine", "io",  "isa",    "prompt-chunk"};

}  // namespace

const Verb kLogits = {"logits",
                      "write the logits of a text as a NumPy file",
                      "MODEL --text FILE --out X.npy [FLAGS]",
                      "  terrace logits model.gguf --text wiki.test.txt --ctx 512 --chunks 2 --out logits.npy\n",
                      kFlags,
                      logits};

}  // namespace terrace::cli
