// terrace plan: where every byte would lie, and what that would cost. Reads no weights.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/report.h"
#include "terrace/cli/session.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/plan/plan_file.h"

namespace terrace::cli {
namespace {

/// Tokens a second and the bound, for prompt and decode, as the simulator tells them.
GenerateResult tell(TextModel& model, const Args& args) {
  const i64 context = model.context();
  const i64 prompt =
      std::min(args.integer("prompt-tokens", std::min<i64>(256, std::max<i64>(1, context / 2)), 1, 1 << 24), context);
  const i64 decode = std::min(args.integer("max-tokens", 32, 1, 1 << 24), context - prompt);
  return model.simulate(prompt, decode);
}

void write_json(const Args& args, TextModel& model, const GenerateResult& told, const std::string& plan_text) {
  const Machine& machine = model.program().machine();
  Json doc = document("plan", &machine);
  const Plan& plan = model.plan();
  doc.add("smallest_budget_bytes", plan.smallest_budget);
  for (const TierBudget& b : plan.budget)
    if (b.tier == machine.main_memory()) doc.add("budget_bytes", b.bytes);
  doc.add("predicted_peak_bytes", plan.total_bytes(machine.main_memory()));
  doc.add("prefill", phase_json(told.prefill, machine, true)).add("decode", phase_json(told.decode, machine, true));
  const auto parsed = nlohmann::json::parse(plan_text);
  static constexpr const char* kTaken[] = {"schema", "kind", "terrace", "machine", "smallest_budget_bytes", "seed"};
  for (const auto& [key, value] : parsed.items())
    if (std::find_if(std::begin(kTaken), std::end(kTaken), [&](const char* k) { return key == k; }) == std::end(kTaken))
      doc.raw(key, value.dump());
  write_document(args, doc);
}

int plan(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  TextOptions options = text_options(args, path);
  options.context = args.integer("ctx", std::min<i64>(512, open_model(path).config.context), 2, i64{1} << 40);
  options.budget = budget_of(args, path);
  size_of_file(path);
  probe_if_unknown(args, path);
  Machine machine = machine_of(args);
  if (!options.budget && args.text("machine", "host") == "host") options.budget = budget_or_default(args, path);
  TextModel model(options, std::move(machine));
  const GenerateResult told = tell(model, args);

  std::FILE* out = text_stream(args);
  const std::string text = to_text(model.plan(), model.program().graph(), args.has("steps"));
  fmt::print(out, "{}\n{}", text, report_text(model, told, nullptr, true));
  const Bytes smallest = model.plan().smallest_budget;
  if (smallest.count)
    fmt::print(out, "smallest budget at a context of {}: {:.1f} MiB\n", model.context(),
               static_cast<double>(ceil_div(smallest.count * 10, 1 << 20)) / 10);
  if (args.has("out") || args.has("json")) {
    const std::string json = plan_to_json(model.plan(), model.program().graph());
    if (const auto file = args.text("out")) write_file(*file, json);
    if (args.has("json")) write_json(args, model, told, json);
  }
  return 0;
}

constexpr const char* kFlags[] = {"budget",  "ctx",   "out", "steps",       "prompt-tokens", "max-tokens",   "threads",
                                  "machine", "rates", "kv",  "activations", "isa",           "prompt-chunk", "plan"};

}  // namespace

const Verb kPlan = {
    "plan",
    "show where every byte would lie and what it would cost; reads no weights",
    "MODEL [FLAGS]",
    "  terrace plan model.gguf --budget 64MiB\n"
    "  terrace plan model.gguf --budget 64MiB --out plan.json && terrace run model.gguf --plan plan.json --prompt Hi\n"
    "  terrace plan model.gguf --budget 50% --steps\n",
    kFlags,
    plan};

}  // namespace terrace::cli
