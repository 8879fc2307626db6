// A language model inside a program of your own: examples/embed MODEL.gguf MIB PROMPT
#include <fmt/format.h>

#include <cstdlib>

#include "terrace/core/error.h"
#include "terrace/program/probe.h"
#include "terrace/program/text_model.h"

int main(int argc, char** argv) {
  using namespace terrace;
  try {
    if (argc != 4) throw Error(ErrorKind::usage, "usage: embed MODEL.gguf MIB PROMPT");
    TextOptions options;  // what, and in how much memory
    options.path = argv[1];
    options.budget = Bytes{std::strtoull(argv[2], nullptr, 10) << 20};
    options.isa = best_isa();

    ProbeOptions probe;  // with what; machine::to_toml and machine::load keep it
    probe.path = options.path;
    probe.isa = options.isa;
    TextModel model(options, probe_host(probe, cpu_kernels(options.isa)));  // throws if it cannot be
    fmt::print("{}", to_text(model.plan(), model.program().graph(), false));

    model.load({});
    GenerateOptions generate;
    generate.max_tokens = 32;
    generate.on_token = [&](i32 id) {
      fmt::print("{}", model.tokenizer().piece(id));
      return true;  // false would stop
    };
    const GenerateResult r = model.generate(model.tokenizer().encode(argv[3], false), generate);
    fmt::print("\n\n{} tokens after the first in {:.3f} s; no plan does it in less than {:.3f} s here\n",
               r.decode.n_tokens, r.decode.seconds, r.decode.bound_seconds);
  } catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return exit_code(e.kind());
  }
}
