// terrace chat: a conversation, line by line.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "terrace/cli/generation.h"
#include "terrace/cli/host_machine.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

constexpr i64 kContexts[] = {4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256, 128};

/// The model with --ctx, or the largest context up to 4096 with which the budget can be kept.
std::unique_ptr<TextModel> open_largest(const Args& args, TextOptions options) {
  const i64 most = open_model(options.path).config.context;
  if (args.has("ctx")) {
    options.context = args.integer("ctx", 0, 2, i64{1} << 40);
    return std::make_unique<TextModel>(options, machine_of(args));
  }
  const Machine machine = machine_of(args);
  for (const i64 context : kContexts) {
    options.context = std::min(context, most);
    try {
      auto model = std::make_unique<TextModel>(options, machine);
      say("context {} tokens{}\n", options.context,
          options.context < std::min(most, kContexts[0]) ? " (what the budget allows)" : "");
      return model;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::does_not_fit || context == kContexts[std::size(kContexts) - 1] ||
          options.context < context)
        throw;
    }
  }
  return nullptr;
}

/// One line from standard input without its end; false at the end of input or when interrupted.
bool read_line(std::string& line) {
  line.clear();
  char c = 0;
  while (true) {
    if (!wait_for_input(STDIN_FILENO)) return false;
    const ssize_t n = ::read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorKind::failure, fmt::format("cannot read: {}", std::strerror(errno)), "standard input");
    if (n == 0) return !line.empty();
    if (c == '\n') return true;
    if (line.size() < (1u << 20)) line += c;
  }
}

class Conversation {
 public:
  Conversation(TextModel& model, const Args& args)
      : model_(model), args_(args), template_(chat_template(model.model().file)) {
    if (const auto system = args.text("system")) messages_.push_back({"system", *system});
  }

  /// Feeds what is new since the last turn, answers.
  GenerateResult turn(const std::string& line, const GenerateOptions& options, std::FILE* out) {
    messages_.push_back({"user", line});
    const std::string whole = args_.has("raw") ? line : io::render_chat(template_, messages_);
    std::string fresh = whole;
    std::vector<i32> ids = pending_;
    if (!args_.has("raw") && !fed_.empty() && whole.starts_with(fed_)) {
      fresh = whole.substr(fed_.size());
    } else if (!args_.has("raw") && !fed_.empty()) {
      model_.reset();  // the template changed what was said before
      ids.clear();
    }
    const std::vector<i32> more =
        fed_.empty() ? prompt_ids(model_.tokenizer(), fresh, true) : model_.tokenizer().encode(fresh, true);
    ids.insert(ids.end(), more.begin(), more.end());
    GenerateOptions g = options;
    g.max_tokens = std::min(g.max_tokens, model_.context() - model_.position() - static_cast<i64>(ids.size()));
    if (g.max_tokens < 1)
      throw Error(ErrorKind::does_not_fit, fmt::format("the context of {} tokens is full", model_.context()), {},
                  "start again, or a larger --ctx");
    GenerateResult r = generate_to(model_, ids, g, out);
    const std::string answer = model_.tokenizer().decode(r.output_ids);
    messages_.push_back({"assistant", answer});
    fed_ = whole + answer;
    // The last token of an answer that was cut off has been told, but not been taken in.
    pending_.clear();
    if (r.stop != "eos" && !r.output_ids.empty()) pending_.push_back(r.output_ids.back());
    return r;
  }

 private:
  TextModel& model_;
  const Args& args_;
  std::optional<std::string> template_;
  std::vector<io::ChatMessage> messages_;
  std::string fed_;  // text that the cache holds, and `pending_`
  std::vector<i32> pending_;
};

void add(Phase& sum, const Phase& p) {
  sum.n_tokens += p.n_tokens;
  sum.seconds += p.seconds;
  sum.predicted_seconds += p.predicted_seconds;
  sum.bound_seconds += p.bound_seconds;
  sum.bound_by = p.bound_by;
  sum.totals += p.totals;
}

int chat(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  if (args.has("chat") && args.has("raw")) throw Error(ErrorKind::usage, "--chat and --raw do not go together");
  GenerateOptions g;
  g.ignore_eos = args.has("ignore-eos");
  g.max_tokens = args.integer("max-tokens", 256, 1, i64{1} << 30);
  g.sampler = sampler_options(args, 0.7);
  g.cancel = &cancelled();
  TextOptions options = text_options(args, path);
  MemoryReport memory;
  if (const auto code = begin_limited(args, path, memory.enforcement)) return *code;
  memory.budget_given = budget_of(args, path).has_value();
  options.budget = memory.budget = budget_or_default(args, path);
  const auto model = open_largest(args, options);
  const EndInOrder patience;  // what was said is reported
  load_weights(*model, args);

  std::FILE* out = text_stream(args);
  const bool asked = ::isatty(STDIN_FILENO) == 1;
  Conversation talk(*model, args);
  GenerateResult all;
  Json turns = Json::array();
  std::string line;
  while (!cancelled()) {
    if (asked) say("{}", bold("> "));
    if (!read_line(line)) break;
    if (line.empty()) continue;
    const GenerateResult r = talk.turn(line, g, out);
    std::fputc('\n', out);
    flush(out);
    if (all.first_token_seconds == 0) all.first_token_seconds = r.first_token_seconds;
    add(all.prefill, r.prefill);
    add(all.decode, r.decode);
    all.output_ids.insert(all.output_ids.end(), r.output_ids.begin(), r.output_ids.end());
    turns.push(Json::object()
                   .add("user", line)
                   .add("text", model->tokenizer().decode(r.output_ids))
                   .add("output_ids", ids_json(r.output_ids)));
  }
  memory.peak = measure_peak();
  say("\n{}", report_text(*model, all, &memory));
  if (args.has("json")) {
    const Machine& machine = model->program().machine();
    Json doc = document("chat", &machine, g.sampler.seed);
    add_memory(doc, memory, *model);
    doc.add("context", model->context()).add("turns", turns).add("output_ids", ids_json(all.output_ids));
    doc.add("load_seconds", model->load_seconds()).add("first_token_seconds", all.first_token_seconds);
    doc.add("prefill", phase_json(all.prefill, machine)).add("decode", phase_json(all.decode, machine));
    write_document(args, doc);
  }
  return cancelled() ? exit_code(ErrorKind::interrupted) : 0;
}

constexpr const char* kFlags[] = {
    "system", "chat",        "raw",   "ignore-eos",   "budget",   "enforce",        "ctx", "max-tokens",  "threads",
    "seed",   "temperature", "top-k", "top-p",        "min-p",    "repeat-penalty", "kv",  "activations", "machine",
    "rates",  "io",          "isa",   "prompt-chunk", "max-write"};

}  // namespace

const Verb kChat = {"chat",
                    "talk with a model, line by line",
                    "MODEL [FLAGS]",
                    "  terrace chat model.gguf --budget 64MiB\n"
                    "  printf 'Hello!\\nAnd in French?\\n' | terrace chat model.gguf --temperature 0\n",
                    kFlags,
                    chat};

}  // namespace terrace::cli
