// The inverse of parse: numbers are printed so that they read back to the same bits.
#include <fmt/format.h>
#include <cmath>
#include <iterator>

#include "terrace/machine/toml.h"

namespace terrace::machine {
namespace {

using Out = std::back_insert_iterator<std::string>;

std::string toml_string(std::string_view s) {
  std::string q = "\"";
  for (char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (q += '\\') += c;
    else if (u < 0x20 || u == 0x7f)
      q += fmt::format("\\u{:04X}", u);
    else
      q += c;
  }
  return q += '"';
}

/// Shortest text that reads back to the same double; large whole numbers in powers of ten stay readable.
std::string num(double v) { return fmt::format("{}", v); }

void put(Out out, const char* key, std::string_view text) {
  if (!text.empty()) fmt::format_to(out, "{} = {}\n", key, toml_string(text));
}
void put(Out out, const char* key, double v) {
  if (v > 0) fmt::format_to(out, "{} = {}\n", key, num(v));
}
void put(Out out, const char* key, const std::optional<double>& v) {
  if (v) fmt::format_to(out, "{} = {}\n", key, num(*v));
}

void put_tier(Out out, const Tier& t) {
  fmt::format_to(out, "\n[[tier]]\n");
  put(out, "id", t.id);
  put(out, "kind", t.kind);
  put(out, "managed", t.hardware ? "hardware" : "software");
  if (t.persistent) fmt::format_to(out, "persistent = true\n");
  fmt::format_to(out, "capacity_bytes = {}\n", t.capacity.count);
  if (t.instances != 1) fmt::format_to(out, "instances = {}\n", t.instances);
  put(out, "read_Bps", t.read.value);
  put(out, "write_Bps", t.write.value);
  if (!t.read_Bps_by_threads.empty())
    fmt::format_to(out, "read_Bps_by_threads = [{}]\n", fmt::join(t.read_Bps_by_threads, ", "));
  put(out, "latency_s", t.latency.value);
  fmt::format_to(out, "granule_bytes = {}\n", t.granule.count);
  put(out, "source", t.source);
  if (t.energy.read_pj_per_bit || t.energy.write_pj_per_bit) {
    fmt::format_to(out, "[tier.energy]\n");
    put(out, "read_pj_per_bit", t.energy.read_pj_per_bit);
    put(out, "write_pj_per_bit", t.energy.write_pj_per_bit);
  }
}

void put_link(Out out, const Machine& m, const Link& l) {
  fmt::format_to(out, "\n[[link]]\n");
  put(out, "from", m.tier(l.from).id);
  put(out, "to", m.tier(l.to).id);
  put(out, "Bps", l.rate.value);
  put(out, "latency_s", l.latency.value);
  put(out, "pj_per_bit", l.pj_per_bit);
  put(out, "source", l.source);
  if (l.rates.empty()) return;
  fmt::format_to(out, "rates = [\n");
  for (const LinkRate& r : l.rates)
    fmt::format_to(out, "  {{block_bytes = {}, depth = {}, Bps = {}}},\n", r.block.count, r.depth, num(r.rate.value));
  fmt::format_to(out, "]\n");
}

void put_unit(Out out, const Machine& m, const Unit& u) {
  fmt::format_to(out, "\n[[unit]]\n");
  put(out, "id", u.id);
  put(out, "kind", u.kind);
  put(out, "near", m.tier(u.near).id);
  fmt::format_to(out, "threads = {}\n", u.threads);
  put(out, "step_overhead_s", u.step_overhead.value);
  put(out, "source", u.source);
  for (const UnitRate& r : u.rates) {
    fmt::format_to(out, "[[unit.rate]]\n");
    put(out, "kernel", r.kernel);
    fmt::format_to(out, "threads = {}\n", r.threads);
    put(out, "peak_ops", r.peak.value);
    put(out, "vector_peak_ops", r.vector_peak.value);
    put(out, "stream_Bps", r.stream.value);
    put(out, "pj_per_op", r.pj_per_op);
  }
}

}  // namespace

std::string to_toml(const Machine& m) {
  std::string text = "schema = 1\n\n[machine]\n";
  const Out out(text);
  put(out, "name", m.name);
  put(out, "processor", m.processor);
  put(out, "notes", m.notes);
  put(out, "idle_w", m.idle_w);
  put(out, "tdp_w", m.tdp_w);
  for (const Source& s : m.sources) {
    fmt::format_to(out, "\n[source.{}]\n", toml_string(s.id));
    put(out, "cite", s.cite);
    put(out, "status", s.status);
  }
  for (const Tier& t : m.tiers) put_tier(out, t);
  for (const Link& l : m.links) put_link(out, m, l);
  for (const Unit& u : m.units) put_unit(out, m, u);
  return text;
}

}  // namespace terrace::machine
