#include "terrace/cli/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "terrace/cli/term.h"

namespace terrace::cli {
namespace {

using Tiers = std::array<Bytes, kMaxTiers>;

Json tiers_json(const Tiers& bytes, const Machine& machine) {
  Json j = Json::object();
  for (std::size_t t = 0; t < machine.tiers.size() && t < kMaxTiers; ++t)
    if (!machine.tiers[t].hardware) j.add(machine.tiers[t].id, bytes[t]);
  return j;
}

/// Bytes written to tiers that outlast the process.
Bytes written_slow(const Totals& totals, const Machine& machine) {
  Bytes b;
  for (std::size_t t = 0; t < machine.tiers.size() && t < kMaxTiers; ++t)
    if (machine.tiers[t].persistent) b += totals.written[t];
  return b;
}

std::string rate(i64 tokens, double seconds) {
  if (tokens <= 0 || seconds <= 0) return "-";
  const double r = static_cast<double>(tokens) / seconds;
  return r < 100 ? fmt::format("{:.1f}", r) : fmt::format("{:.0f}", r);
}

std::string time_or_dash(double s) { return s > 0 ? human_seconds(s) : "-"; }

struct TimeRow {
  const char* name;
  i64 tokens;
  double measured, predicted, bound;
  std::string by;
};

std::string each_token(i64 tokens, double seconds) {
  if (tokens <= 0 || seconds <= 0) return "-";
  const double ms = seconds / static_cast<double>(tokens) * 1e3;
  return ms < 10 ? fmt::format("{:.3f}", ms) : fmt::format("{:.1f}", ms);
}

std::string time_table(const std::vector<TimeRow>& rows, bool told) {
  const auto line = [told](auto name, auto tokens, auto measured, auto tokens_a_second, auto ms, auto predicted,
                           auto bound, auto by, auto share) {
    std::string s = fmt::format("{:<9}{:>7}", name, tokens);
    if (!told) s += fmt::format("{:>13}", measured);
    return s + fmt::format("{:>10}{:>10}{:>13}{:>13}{:>10}{:>10}\n", tokens_a_second, ms, predicted, bound, by, share);
  };
  std::string s = bold(line("time", "tokens", "measured", "tokens/s", "ms/token", told ? "simulated" : "predicted",
                            "bound", "bound by", "of bound"));
  for (const TimeRow& r : rows) {
    const double taken = told ? r.predicted : r.measured;
    s += line(r.name, r.tokens ? std::to_string(r.tokens) : "-", time_or_dash(r.measured), rate(r.tokens, taken),
              each_token(r.tokens, taken), time_or_dash(r.predicted), time_or_dash(r.bound), r.by.empty() ? "-" : r.by,
              taken > 0 && r.bound > 0 ? fmt::format("{:.0f} %", r.bound / taken * 100) : "-");
  }
  return s;
}

/// Where the seconds of the phases went. Engine seconds that are neither arithmetic nor waiting are synchronisation.
std::string seconds_table(const GenerateResult& r) {
  std::string s = bold(fmt::format("{:<9}{:>13}{:>13}{:>13}{:>13}{:>13}\n", "seconds", "computing", "waiting i/o",
                                   "other steps", "unaccounted", "all"));
  for (const auto& [name, p] : {std::pair{"prompt", &r.prefill}, {"decode", &r.decode}}) {
    if (p->n_tokens == 0) continue;
    const Totals& t = p->totals;
    const double other = t.seconds - t.compute_busy_seconds - t.io_wait_seconds;
    const auto cell = [](double x) { return fmt::format("{:.4f}", x); };
    s += fmt::format("{:<9}{:>13}{:>13}{:>13}{:>13}{:>13}\n", name, cell(t.compute_busy_seconds),
                     cell(t.io_wait_seconds), cell(other), cell(p->seconds - t.seconds), cell(p->seconds));
  }
  return s;
}

std::string bytes_table(const GenerateResult& r, const Machine& machine) {
  std::string s = bold(
      fmt::format("{:<9}{:<8}{:>16}{:>16}{:>16}\n", "bytes", "tier", "read /token", "transferred", "written /token"));
  for (const auto& [name, p] : {std::pair{"prompt", &r.prefill}, {"decode", &r.decode}}) {
    if (p->n_tokens == 0) continue;
    const auto each = [n = static_cast<u64>(p->n_tokens)](Bytes b) { return human(Bytes{b.count / n}); };
    for (std::size_t t = 0; t < machine.tiers.size() && t < kMaxTiers; ++t) {
      if (machine.tiers[t].hardware) continue;
      const Totals& totals = p->totals;
      s += fmt::format("{:<9}{:<8}{:>16}{:>16}{:>16}\n", name, machine.tiers[t].id, each(totals.read[t]),
                       totals.transferred[t].count ? each(totals.transferred[t]) : "-", each(totals.written[t]));
    }
  }
  return s;
}

Bytes bytes_of(const Plan& plan, TierId tier, std::initializer_list<Use> uses) {
  Bytes b;
  for (const Placement& p : plan.placements)
    if (p.owner == Owner::plan && p.tier == tier && std::find(uses.begin(), uses.end(), p.use) != uses.end())
      b += p.bytes;
  return b;
}

/// The ring's slots are used by many placements: what counts is how far they reach.
Bytes ring_bytes(const Plan& plan, TierId tier) {
  u64 lo = ~u64{0}, hi = 0;
  for (const Placement& p : plan.placements) {
    if (p.use != Use::ring || p.owner != Owner::plan || p.tier != tier) continue;
    lo = std::min(lo, p.offset - p.pad_before);
    hi = std::max(hi, p.offset + p.bytes.count + p.pad_after);
  }
  return Bytes{hi > lo ? hi - lo : 0};
}

std::string memory_table(const MemoryReport& m, TextModel& model) {
  const Plan& plan = model.plan();
  const TierId memory = model.program().machine().main_memory();
  const Bytes arena = plan.arena_bytes(memory), total = plan.total_bytes(memory);
  const Bytes weights = bytes_of(plan, memory, {Use::weights}), ring = ring_bytes(plan, memory),
              state = bytes_of(plan, memory, {Use::state});
  const Bytes known = weights + ring + state;
  std::string s = bold("memory\n");
  const auto row = [&](std::string_view name, std::string_view value, std::string_view note = {}) {
    s += fmt::format("  {:<24}{:>12}", name, value);
    if (!note.empty()) s += "   " + dim(note);
    s += '\n';
  };
  row("weights kept", human(weights));
  row("ring", human(ring));
  row("cache", human(state));
  row("activations and the rest", human(arena > known ? arena - known : Bytes{}));
  row("process", human(total - arena), "binary, stacks, tokenizer, ...");
  row("predicted peak", human(total), "the plan's account");
  row("measured peak", human(m.peak.bytes), m.peak.source);
  const auto gap = static_cast<double>(m.peak.bytes.count) - static_cast<double>(total.count);
  row("unaccounted", fmt::format("{:+.1f} MiB", gap / 0x1p20), "measured less predicted");
  row("budget", human(m.budget), m.budget_given ? m.enforcement.how : "none given: nine tenths of what is free");
  return s;
}

}  // namespace

Bytes pinned_bytes(const Plan& plan) {
  Bytes b;
  for (const Placement& p : plan.placements)
    if (p.use == Use::weights && p.owner == Owner::plan) b += p.bytes;
  return b;
}

Json phase_json(const Phase& p, const Machine& machine, bool told) {
  Json j = Json::object();
  j.add("n_tokens", p.n_tokens);
  j.add("seconds", told ? p.predicted_seconds : p.seconds).add("predicted_seconds", p.predicted_seconds);
  j.add("bound_seconds", p.bound_seconds).add("bound_by", p.bound_by);
  j.add("payload_bytes", tiers_json(p.totals.read, machine))
      .add("transferred_bytes", tiers_json(p.totals.transferred, machine));
  j.add("written_bytes", written_slow(p.totals, machine));
  j.add("compute_seconds", p.totals.compute_busy_seconds).add("io_wait_seconds", p.totals.io_wait_seconds);
  if (!told) j.add("unaccounted_seconds", p.seconds - p.totals.seconds);
  return j;
}

void add_memory(Json& doc, const MemoryReport& m, TextModel& model) {
  const Plan& plan = model.plan();
  const TierId memory = model.program().machine().main_memory();
  const Bytes total = plan.total_bytes(memory);
  doc.add("budget_bytes", m.budget).add("budget_given", m.budget_given);
  doc.add("peak_bytes", m.peak.bytes).add("peak_source", m.peak.source);
  doc.add("enforced", m.enforcement.enforced).add("predicted_peak_bytes", total);
  doc.add("unaccounted_bytes", static_cast<i64>(m.peak.bytes.count) - static_cast<i64>(total.count));
}

std::string report_text(TextModel& model, const GenerateResult& r, const MemoryReport* memory, bool told) {
  const Machine& machine = model.program().machine();
  std::vector<TimeRow> rows;
  if (!told) {
    TimeRow load{"load", 0, model.load_seconds(), 0, 0, "disk"};
    const auto disk = machine.file_tier();
    const auto link = disk ? machine.find_link(*disk, machine.main_memory()) : std::nullopt;
    if (link) load.bound = (pinned_bytes(model.plan()) / machine.links[*link].rate).value;
    rows.push_back(load);
  }
  rows.push_back({"prompt", r.prefill.n_tokens, r.prefill.seconds, r.prefill.predicted_seconds, r.prefill.bound_seconds,
                  r.prefill.bound_by});
  rows.push_back({"decode", r.decode.n_tokens, r.decode.seconds, r.decode.predicted_seconds, r.decode.bound_seconds,
                  r.decode.bound_by});
  std::string s = time_table(rows, told);
  if (!told) s += "\n" + seconds_table(r);
  s += "\n" + bytes_table(r, machine);
  if (memory) s += "\n" + memory_table(*memory, model);
  s += dim(fmt::format("\nmachine {} ({})", machine.name,
                       machine.processor.empty() ? "no processor named" : machine.processor));
  if (!told && model.program().loaded()) s += dim(", " + model.program().host().io_path());
  return s + "\n";
}

}  // namespace terrace::cli
