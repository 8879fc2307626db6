// Two models in one process under one budget; tokens by callback, and an end half-way:
// uses_terrace MODEL.gguf OTHER.gguf MACHINE.toml MIB PROMPT
#include <terrace/core/error.h>
#include <terrace/machine/toml.h>
#include <terrace/program/text_model.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 6) return std::fprintf(stderr, "usage: %s MODEL.gguf OTHER.gguf MACHINE.toml MIB PROMPT\n", argv[0]), 2;
  try {
    const terrace::Bytes budget{std::strtoull(argv[4], nullptr, 10) << 20};
    const terrace::Machine machine = terrace::machine::load(argv[3]);
    terrace::TextOptions options;
    options.path = argv[1];
    options.budget = terrace::Bytes{budget.count / 2};
    options.context = 64;
    options.isa = terrace::best_isa();
    terrace::TextModel first(options, machine);  // throws if it cannot be

    options.path = argv[2];
    options.budget = budget;  // of both: what the first one takes is not to be had
    options.beside = first.bytes_beside();
    terrace::TextModel second(options, machine);

    for (terrace::TextModel* model : {&first, &second}) {
      model->load({});
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
      const auto result = model->generate(model->tokenizer().encode(argv[5], false), generate);
      std::printf("%s\n", result.stop.c_str());
    }
    std::printf("%llu\n", static_cast<unsigned long long>(second.plan().total_bytes(machine.main_memory()).count));
  } catch (const terrace::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return terrace::exit_code(e.kind());
  }
}
