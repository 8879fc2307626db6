// terrace run: one prompt, one answer, and the account of it.
#include <fmt/format.h>

#include <algorithm>

#include "terrace/cli/generation.h"
#include "terrace/cli/host_machine.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

std::string rendered(const Args& args, const io::GgufFile& file) {
  std::string prompt = prompt_text(args);
  if (!args.has("chat")) return prompt;
  if (args.has("raw")) throw Error(ErrorKind::usage, "--chat and --raw do not go together");
  std::vector<io::ChatMessage> messages;
  if (const auto system = args.text("system")) messages.push_back({"system", *system});
  messages.push_back({"user", std::move(prompt)});
  return io::render_chat(chat_template(file), messages);
}

/// Token ids of the prompt, before the plan is made: it needs their number. What this takes is given back.
std::vector<i32> read_prompt(const Args& args, const std::string& path) {
  const io::GgufFile file(path);
  const std::string text = rendered(args, file);
  return prompt_ids(io::Tokenizer(file), text, args.has("chat"));
}

/// Prompt plus --max-tokens unless --ctx says otherwise; never beyond the model's.
i64 context_of(const Args& args, i64 prompt, i64 max_tokens, i64 most) {
  const i64 asked = args.integer("ctx", prompt + max_tokens, 2, i64{1} << 40);
  if (asked > most)
    throw Error(args.has("ctx") ? ErrorKind::usage : ErrorKind::does_not_fit,
                fmt::format("a context of {} tokens is beyond the model's {}", asked, most), {},
                "a smaller --ctx or --max-tokens, or a shorter prompt");
  if (prompt >= asked)
    throw Error(ErrorKind::does_not_fit,
                fmt::format("a prompt of {} tokens leaves no room in a context of {}", prompt, asked), "--ctx",
                fmt::format("at least {}", prompt + 1));
  return asked;
}

int run(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  if (path.ends_with(".safetensors")) return run_checkpoint(args, path);
  const i64 max_tokens = args.integer("max-tokens", 256, 1, i64{1} << 30);
  const SamplerOptions sampler = sampler_options(args, 0);
  TextOptions options = text_options(args, path);
  host_options(args);
  if (!args.has("prompt-file")) prompt_text(args);

  MemoryReport memory;
  if (const auto code = begin_limited(args, path, memory.enforcement)) return *code;
  memory.budget_given = budget_of(args, path).has_value();
  memory.budget = budget_or_default(args, path);

  const std::vector<i32> ids = read_prompt(args, path);
  if (ids.empty()) throw Error(ErrorKind::usage, "the prompt is empty", "--prompt", "give at least one character");
  const i64 most = open_model(path).config.context;
  const auto n_prompt = static_cast<i64>(ids.size());
  options.context = context_of(args, n_prompt, max_tokens, most);
  options.budget = memory.budget;
  TextModel model(options, machine_of(args));
  model.predict(n_prompt, std::min(max_tokens, options.context - n_prompt));
  std::FILE* out = text_stream(args);
  GenerateOptions g;
  g.max_tokens = std::min(max_tokens, options.context - n_prompt);
  g.sampler = sampler;
  g.ignore_eos = args.has("ignore-eos");
  g.cancel = &cancelled();
  const GenerateResult r = [&] {
    const EndInOrder patience;
    load_weights(model, args);
    return generate_to(model, ids, g, out);
  }();
  std::fputc('\n', out);
  flush(out);
  memory.peak = measure_peak();
  say("\n{}", report_text(model, r, &memory));

  if (args.has("json")) {
    const Machine& machine = model.program().machine();
    Json doc = document("run", &machine, sampler.seed);
    add_memory(doc, memory, model);
    doc.add("context", options.context)
        .add("threads", model.plan().workers)
        .add("io", model.program().host().io_path());
    doc.add("prompt_ids", ids_json(ids)).add("output_ids", ids_json(r.output_ids));
    doc.add("text", model.tokenizer().decode(r.output_ids)).add("stop", r.stop);
    doc.add("load_seconds", model.load_seconds()).add("first_token_seconds", r.first_token_seconds);
    doc.add("prefill", phase_json(r.prefill, machine)).add("decode", phase_json(r.decode, machine));
    write_document(args, doc);
  }
  return r.stop == "cancelled" ? exit_code(ErrorKind::interrupted) : 0;
}

constexpr const char* kFlags[] = {
    "prompt",       "prompt-file", "chat",        "raw",         "system",  "budget", "enforce", "ctx",
    "max-tokens",   "threads",     "seed",        "temperature", "top-k",   "top-p",  "min-p",   "repeat-penalty",
    "ignore-eos",   "kv",          "activations", "plan",        "machine", "rates",  "io",      "isa",
    "prompt-chunk", "max-write"};

}  // namespace

const Verb kRun = {"run",
                   "continue a prompt inside a memory budget, and account for it",
                   "MODEL --prompt TEXT [FLAGS]",
                   "  terrace run model.gguf --prompt 'Once upon a time' --budget 64MiB\n"
                   "  terrace run model.gguf --chat --prompt 'What is a terrace?' --max-tokens 64 --json run.json\n"
                   "  terrace run model.gguf --prompt-file story.txt --budget 50% --temperature 0.8 --seed 7\n"
                   "  terrace run runs/char_gpt/checkpoint.safetensors --prompt 'ROMEO:' --temperature 0.8\n",
                   kFlags,
                   run};

}  // namespace terrace::cli
