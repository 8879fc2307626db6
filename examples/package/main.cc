// Tokens by callback, and an end half-way: uses_terrace MODEL.gguf MACHINE.toml MIB PROMPT
#include <terrace/core/error.h>
#include <terrace/machine/toml.h>
#include <terrace/program/text_model.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "usage: %s MODEL.gguf MACHINE.toml MIB PROMPT\n", argv[0]), 2;
  try {
    terrace::TextOptions options;
    options.path = argv[1];
    options.budget = terrace::Bytes{std::strtoull(argv[3], nullptr, 10) << 20};
    options.context = 64;
    options.isa = terrace::best_isa();
    terrace::TextModel model(options, terrace::machine::load(argv[2]));  // throws if it cannot be
    model.load({});

    std::atomic<bool> cancel = false;  // may be set by any thread
    int seen = 0;
    terrace::GenerateOptions generate;
    generate.max_tokens = 16;
    generate.ignore_eos = true;
    generate.cancel = &cancel;
    generate.on_token = [&](terrace::i32 id) {
      std::printf("%d ", id);
      cancel = ++seen == 8;
      return true;
    };
    const auto result = model.generate(model.tokenizer().encode(argv[4], false), generate);
    std::printf("%s\n", result.stop.c_str());
  } catch (const terrace::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return terrace::exit_code(e.kind());
  }
}
