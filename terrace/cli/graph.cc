// terrace graph: what a model computes, as text.
#include <fmt/format.h>

#include <algorithm>

#include "terrace/cli/json.h"
#include "terrace/cli/session.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"

namespace terrace::cli {
namespace {

int graph(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  const TextOptions o = text_options(args, path);
  const Model model = open_model(path);
  nn::LlamaOptions options;
  options.context = args.integer("ctx", std::min<i64>(512, model.config.context), 2, i64{1} << 40);
  options.max_tokens = std::min(o.prompt_chunk, options.context);
  options.kv_dtype = o.kv_dtype;
  options.kv_layout = o.kv_layout;
  options.quantize_activations = o.quantize_activations;
  const Graph g = build_graph(model, options);
  const std::string text = to_text(g);
  std::fputs(text.c_str(), text_stream(args));
  if (args.has("json"))
    write_document(args, document("graph")
                             .add("fingerprint", fmt::format("{:016x}", g.fingerprint()))
                             .add("n_values", g.values().size())
                             .add("n_nodes", g.nodes().size())
                             .add("text", text));
  return 0;
}

constexpr const char* kFlags[] = {"ctx", "kv", "activations", "prompt-chunk"};

}  // namespace

const Verb kGraph = {"graph",
                     "show what a model computes",
                     "MODEL [FLAGS]",
                     "  terrace graph model.gguf | less\n"
                     "  terrace graph model.gguf --ctx 2048 --kv q8_0\n",
                     kFlags,
                     graph};

}  // namespace terrace::cli
