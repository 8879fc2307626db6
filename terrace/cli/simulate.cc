// terrace simulate: the same work told for a machine that is only described.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/report.h"
#include "terrace/cli/session.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/machine/cost.h"
#include "terrace/sim/sim_engine.h"

namespace terrace::cli {
namespace {

/// Joules as far as the machine file knows them: null where it does not, never zero.
struct Energy {
  std::vector<std::optional<double>> tier, hop;
  std::map<std::string_view, std::optional<double>> op_class;
  double known = 0;
};

Json optional_json(Json j, std::string_view key, const std::optional<double>& v) {
  if (v)
    j.add(key, *v);
  else
    j.raw(key, "null");
  return j;
}

/// Arithmetic of one repetition at these symbols, by op class; unknown once any part of it is.
void add_arithmetic(TextModel& model, std::span<const i64> symbols, double times, Energy& e) {
  const Program& p = model.program();
  const u32 b = p.plan().body_for(symbols);
  if (b == kNone) return;
  const Body& body = p.plan().bodies[b];
  for (const Step& s : body.steps) {
    if (s.kind != StepKind::compute) continue;
    const OpDef& op = *p.graph().node(s.node).op;
    const StepWork w = step_work(p.graph(), p.plan(), body, s, symbols);
    const auto joules = compute_joules(
        p.machine(), s.unit,
        {p.plan().kernels[s.kernel], op.name, name_of(op.op_class), w.flops, {}, {}, w.single_row, s.workers});
    const auto [it, fresh] = e.op_class.try_emplace(name_of(op.op_class), 0.0);
    if (joules && it->second)
      *it->second += *joules * times;
    else if (w.flops > 0)
      it->second.reset();
  }
}

Energy energy_of(TextModel& model, const GenerateResult& r, i64 prompt, i64 decode) {
  const Machine& m = model.program().machine();
  Energy e;
  Totals all = r.prefill.totals;
  all += r.decode.totals;
  for (std::size_t t = 0; t < m.tiers.size() && t < kMaxTiers; ++t) {
    e.tier.push_back(access_joules(m, static_cast<TierId>(t), all.read[t], all.written[t]));
    if (e.tier.back()) e.known += *e.tier.back();
  }
  for (std::size_t l = 0; l < m.links.size(); ++l) {
    // One link leads out of each tier that moves are made from, as plans stand today.
    const TierId from = m.links[l].from;
    const Bytes moved = from < kMaxTiers ? all.transferred[from] : Bytes{};
    e.hop.push_back(link_joules(m, static_cast<LinkId>(l), moved));
    if (e.hop.back()) e.known += *e.hop.back();
  }
  const Graph& g = model.program().graph();
  std::vector<i64> symbols(g.symbols().size());
  const auto n = static_cast<std::size_t>(*g.find_symbol("n")), pos = static_cast<std::size_t>(*g.find_symbol("pos"));
  symbols[n] = 1;
  symbols[pos] = 0;
  for (i64 i = 0; i < decode; ++i) {
    symbols[pos] = prompt + i;
    add_arithmetic(model, symbols, 1, e);
  }
  const u32 body = model.plan().find_body("prompt");
  const i64 chunk = body == kNone ? 1 : model.plan().bodies[body].symbols[n].hi;
  for (i64 i = 0; i < prompt; i += chunk) {
    symbols[n] = std::min(chunk, prompt - i);
    symbols[pos] = i;
    add_arithmetic(model, symbols, 1, e);
  }
  for (const auto& [name, j] : e.op_class)
    if (j) e.known += *j;
  return e;
}

Json energy_json(const Energy& e, const Machine& m) {
  Json tiers = Json::object(), hops = Json::object(), ops = Json::object();
  for (std::size_t t = 0; t < e.tier.size(); ++t)
    if (!m.tiers[t].hardware) tiers = optional_json(std::move(tiers), m.tiers[t].id, e.tier[t]);
  for (std::size_t l = 0; l < e.hop.size(); ++l)
    hops = optional_json(std::move(hops), m.tiers[m.links[l].from].id + ">" + m.tiers[m.links[l].to].id, e.hop[l]);
  for (const auto& [name, j] : e.op_class) ops = optional_json(std::move(ops), name, j);
  return Json::object().add("known", e.known).add("tier", tiers).add("hop", hops).add("op_class", ops);
}

/// Bringing the pinned weights in, before the first repetition; 0 if the plan pins none.
double load_seconds(TextModel& model) {
  const Program& p = model.program();
  const u32 load = p.plan().find_body("load");
  if (load == kNone) return 0;
  SimEngine engine(p.graph(), p.machine(), p.plan(), Provenance::simulated);
  return engine.run(load, {p.plan().bodies[load].typical, {}}).totals.seconds;
}

/// The plan's limit of main memory; without one it is the tier's capacity that the planner keeps to.
Bytes budget_in(const Plan& plan, const Machine& machine) {
  const TierId memory = machine.main_memory();
  for (const TierBudget& b : plan.budget)
    if (b.tier == memory) return b.bytes;
  return machine.tier(memory).capacity;
}

int simulate(const Args& args) {
  const std::string& path = args.word(0, "a model file");
  args.at_most(1);
  TextOptions options = text_options(args, path);
  const bool host = args.text("machine", "host") == "host";
  if (host) probe_if_unknown(args, path);
  Machine machine = machine_of(args);
  if (!args.has("threads") && machine.name != "host") options.threads = std::max(1, machine.units.at(0).threads);
  const i64 room = args.integer("ctx", open_model(path).config.context, 2, i64{1} << 40);
  const i64 prompt = args.integer("prompt-tokens", std::min<i64>(256, room / 2), 1, 1 << 24);
  const i64 decode = args.integer("max-tokens", std::min<i64>(64, std::max<i64>(1, room - prompt)), 1, 1 << 24);
  options.context = args.integer("ctx", prompt + decode, 2, i64{1} << 40);
  if (options.context < prompt + decode)
    throw Error(ErrorKind::usage, fmt::format("{} tokens do not fit a context of {}", prompt + decode, options.context),
                "--ctx", "a larger --ctx, or fewer --prompt-tokens or --max-tokens");
  options.budget = budget_of(args, path);
  options.needs_tokenizer = false;
  TextModel model(options, std::move(machine));
  const GenerateResult r = model.simulate(prompt, decode);
  const Machine& m = model.program().machine();
  const Energy energy = energy_of(model, r, prompt, decode);
  const double load = load_seconds(model);

  std::FILE* out = text_stream(args);
  fmt::print(out, "{}", report_text(model, r, nullptr, true));
  fmt::print(out, "loading {} (simulated)\n", load > 0 ? human_seconds(load) : "nothing");
  fmt::print(
      out, "memory {:.1f} MiB by the plan's account; joules known {:.4g}{}\n",
      static_cast<double>(model.plan().total_bytes(m.main_memory()).count) / 0x1p20, energy.known,
      r.prefill.totals.steps_of_unknown_energy + r.decode.totals.steps_of_unknown_energy ? ", and some unknown" : "");
  if (args.has("json")) {
    Json s = Json::object();
    s.add("budget_bytes", budget_in(model.plan(), m));
    s.add("predicted_peak_bytes", model.plan().total_bytes(m.main_memory()));
    s.add("load_seconds", load).add("first_token_seconds", r.prefill.predicted_seconds);
    s.add("prefill", phase_json(r.prefill, m, true)).add("decode", phase_json(r.decode, m, true));
    s.add("joules", energy_json(energy, m));
    write_document(args, document("simulate", &m).add("simulated", s));
  }
  return 0;
}

constexpr const char* kFlags[] = {"machine", "budget", "ctx",         "prompt-tokens", "max-tokens",   "threads",
                                  "rates",   "kv",     "activations", "isa",           "prompt-chunk", "plan"};

}  // namespace

const Verb kSimulate = {
    "simulate",
    "tell what the work would take on a machine, this host or one that is only described",
    "MODEL [--machine FILE|NAME] [FLAGS]",
    "  terrace simulate model.gguf --machine raspberry-pi-5 --budget 64MiB\n"
    "  terrace simulate model.gguf --machine hbm-server --prompt-tokens 512 --max-tokens 128 --json -\n",
    kFlags,
    simulate};

}  // namespace terrace::cli
