// terrace probe: measures this machine, and keeps what it found.
#include <fmt/format.h>
#include <sys/stat.h>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/machine/cost.h"
#include "terrace/machine/toml.h"
#include "terrace/program/bound.h"
#include "terrace/program/probe.h"
#include "terrace/program/topo.h"

namespace terrace::cli {

Machine probe_now(const Args& args, const std::string& path, double seconds, bool show) {
  ProbeOptions o;
  o.path = path;
  o.threads = threads_of(args);
  o.isa = isa_of(args);
  o.seconds_budget = seconds;
  o.topology_program = program_folder() + "/terrace-topology";
  if (show && bars()) o.progress = [](std::string_view what) { say("\r\033[Kprobing: {}", what); };
  o.warn = [&](std::string_view what) {
    say("{}terrace: {}: the rates are too low; run terrace probe again when it is idle\n", o.progress ? "\r\033[K" : "",
        what);
  };
  Machine m = probe_host(o, cpu_kernels(o.isa));
  if (o.progress) say("\r\033[K");
  return m;
}

namespace {

/// What --rates reads, and the machine whole.
Json probe_json(const Machine& m, int threads) {
  const BoundRates r = rates_of(m, threads);
  Json rates = Json::object();
  rates.add("disk_Bps", r.disk.value).add("dram_Bps", r.dram.value).add("peak_ops", r.peak.value);
  Json tiers = Json::array(), links = Json::array(), units = Json::array();
  for (const Tier& t : m.tiers) {
    Json by_threads = Json::array();
    for (const double x : t.read_Bps_by_threads) by_threads.push(x);
    tiers.push(Json::object()
                   .add("id", t.id)
                   .add("kind", t.kind)
                   .add("hardware", t.hardware)
                   .add("capacity_bytes", t.capacity)
                   .add("read_Bps", t.read.value)
                   .add("write_Bps", t.write.value)
                   .add("read_Bps_by_threads", by_threads)
                   .add("latency_seconds", t.latency.value)
                   .add("granule_bytes", t.granule));
  }
  for (const Link& l : m.links) {
    Json table = Json::array();
    for (const LinkRate& x : l.rates)
      table.push(Json::object().add("block_bytes", x.block).add("depth", x.depth).add("Bps", x.rate.value));
    links.push(Json::object()
                   .add("from", m.tiers[l.from].id)
                   .add("to", m.tiers[l.to].id)
                   .add("Bps", l.rate.value)
                   .add("latency_seconds", l.latency.value)
                   .add("rates", table));
  }
  for (const Unit& u : m.units) {
    Json table = Json::array();
    for (const UnitRate& x : u.rates)
      table.push(Json::object()
                     .add("kernel", x.kernel)
                     .add("threads", x.threads)
                     .add("peak_ops", x.peak.value)
                     .add("vector_peak_ops", x.vector_peak.value)
                     .add("stream_Bps", x.stream.value));
    units.push(Json::object()
                   .add("id", u.id)
                   .add("kind", u.kind)
                   .add("threads", u.threads)
                   .add("step_overhead_seconds", u.step_overhead.value)
                   .add("rates", table));
  }
  return document("probe", &m)
      .add("threads", threads)
      .add("rates", rates)
      .add("tiers", tiers)
      .add("links", links)
      .add("units", units);
}

int probe(const Args& args) {
  args.at_most(1);
  const std::string path = args.text("path", args.words().empty() ? "." : args.words()[0]);
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0)
    throw Error(ErrorKind::bad_file, "no such file or folder", path, "name the model file");
  const Machine m = probe_now(args, path, args.number("seconds", 4, 0.1, 600), true);
  std::FILE* out = text_stream(args);
  std::fputs(topo_text(m).c_str(), out);
  const BoundRates r = rates_of(m, threads_of(args));
  fmt::print(out, "\nrates of the bound: disk {:.2f} GB/s, memory {:.1f} GB/s, arithmetic {:.0f} Gop/s\n",
             r.disk.value / 1e9, r.dram.value / 1e9, r.peak.value / 1e9);
  if (const auto file = args.text("out")) {
    write_file(*file, machine::to_toml(m));
    say("written to {}\n", *file);
  } else if (save_host(m)) {
    say("kept in {}\n", host_file());
  } else {
    say("terrace: not kept: {} cannot be written (use --out FILE)\n", host_file().empty() ? "~/.cache" : host_file());
  }
  if (args.has("json")) write_document(args, probe_json(m, threads_of(args)));
  return 0;
}

constexpr const char* kFlags[] = {"path", "out", "seconds", "threads", "isa"};

}  // namespace

const Verb kProbe = {
    "probe",
    kProbeHelp,
    "[PATH] [FLAGS]",
    "  terrace probe model.gguf            # and the file system it is on\n"
    "  terrace probe --path . --out host.toml\n"
    "  terrace probe model.gguf --json rates.json && terrace run model.gguf --rates rates.json --prompt Hi\n",
    kFlags,
    probe};

}  // namespace terrace::cli
