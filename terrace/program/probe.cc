#include "terrace/program/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

#include "terrace/core/error.h"
#include "terrace/program/probe_parts.h"

namespace terrace {
namespace {

using namespace probe;

constexpr const char* kSource = "probe";
/// What the notes of a machine say that was measured while others ran.
constexpr std::string_view kOthers = "other programs took";
/// Of the processors' time, taken by others: more than what an idle system does.
constexpr double kBusy = 0.15;

void tell(const ProbeOptions& o, std::string_view what) {
  if (o.progress) o.progress(what);
}

Tier cache_tier(const Cache& c) {
  Tier t;
  t.id = fmt::format("l{}", c.level);
  t.kind = "sram";
  t.hardware = true;
  t.capacity = Bytes{c.bytes};
  t.instances = c.instances;
  t.granule = Bytes{static_cast<u64>(c.line)};
  t.source = kSource;
  return t;
}

/// Bytes of memory to stream through: four times the last cache, at least 256 MiB, at most a quarter of what is free.
u64 stream_bytes(const std::vector<Cache>& caches) {
  u64 last = 0;
  for (const Cache& c : caches) last = std::max(last, c.bytes * static_cast<u64>(c.level >= 3 ? c.instances : 1));
  const u64 wanted = std::clamp<u64>(4 * last, u64{256} << 20, u64{1} << 30);
  const u64 free = available_memory();
  return free == 0 ? wanted : std::max<u64>(std::min(wanted, free / 4), u64{16} << 20);
}

/// Caches with the rate at which all threads read half of them, and memory by number of threads.
void measure_memory(const ProbeOptions& o, const std::vector<Cache>& caches, Team& team, const HugeBuffer& big,
                    Machine& m) {
  tell(o, "memory");
  const double share =
      o.seconds_budget * 0.2 / static_cast<double>(caches.size() + static_cast<std::size_t>(team.size()));
  const auto all = static_cast<u64>(team.size());
  for (const Cache& c : caches) {
    Tier t = cache_tier(c);
    const u64 sharers = std::max<u64>(1, all / static_cast<u64>(std::max(c.instances, 1)));
    t.read.value = read_rate(team, team.size(), big, c.bytes / 2 / sharers, share);
    m.tiers.push_back(std::move(t));
  }
  Tier dram;
  dram.id = dram.kind = "dram";
  dram.capacity = Bytes{std::max<u64>(total_memory(), big.size())};
  for (int t = 1; t <= team.size(); ++t)
    dram.read_Bps_by_threads.push_back(read_rate(team, t, big, big.size() / static_cast<u64>(t), share));
  dram.read.value = *std::max_element(dram.read_Bps_by_threads.begin(), dram.read_Bps_by_threads.end());
  dram.source = kSource;
  m.tiers.push_back(std::move(dram));
}

void measure_kernels(const ProbeOptions& o, const KernelTable& table, const std::vector<Cache>& caches, Team& team,
                     const HugeBuffer& big, Unit& unit) {
  u64 own = u64{256} << 10;  // the last cache that a core has to itself
  for (const Cache& c : caches)
    if (c.level == 2) own = c.bytes;
  const auto kernels = choosable(table, o.isa);
  Team single(1);
  double weight = 0;  // linear kernels are what matters: they get most of the time
  const auto weight_of = [](const Kernel& k) { return k.op == "linear" ? 4.0 : 1.0; };
  for (const Kernel* k : kernels) weight += weight_of(*k);
  for (const Kernel* k : kernels) {
    tell(o, k->name);
    const double seconds = o.seconds_budget * 0.5 * weight_of(*k) / weight / (team.size() > 1 ? 2 : 1);
    for (Team* t : {&single, &team}) {
      if (t == &team && team.size() == 1) continue;
      UnitRate r;
      if (kernel_rate(*k, *t, big, own, seconds, r)) unit.rates.push_back(std::move(r));
    }
  }
}

void measure_disk(const ProbeOptions& o, Machine& m) {
  tell(o, "disk under " + o.path);
  const DiskRates d = disk_rates(o.path, o.seconds_budget * 0.3);
  Tier disk;
  disk.id = "disk";
  disk.kind = "nvme";
  disk.persistent = true;
  disk.capacity = Bytes{std::max<u64>(d.capacity, 1)};
  disk.read.value = d.best;
  disk.latency.value = d.latency;
  disk.granule = Bytes{d.granule};
  disk.source = kSource;
  Link l;
  l.from = static_cast<TierId>(m.tiers.size());
  l.to = *m.find_tier("dram");
  l.rate.value = d.best;
  l.latency.value = d.latency;
  l.rates = d.rates;
  l.source = kSource;
  m.tiers.push_back(std::move(disk));
  m.links.push_back(std::move(l));
  m.notes += fmt::format("; disk read {} into 2 MiB pages, {}", d.io_uring ? "through io_uring" : "with pread",
                         d.direct ? "past the page cache" : "through the page cache: no direct I/O here");
}

/// Four digits: the rest is noise, and the file stays readable.
template <class Tag>
void round_off(Quantity<Tag>& q) {
  if (q.value <= 0) return;
  const double unit = std::pow(10, std::floor(std::log10(q.value)) - 3);
  q.value = unit >= 1 ? std::round(q.value / unit) * unit : std::round(q.value / unit) / std::round(1 / unit);
}

void round_off(Machine& m) {
  for (Tier& t : m.tiers) {
    round_off(t.read), round_off(t.latency);
    for (double& v : t.read_Bps_by_threads) {
      BytesPerSecond r{v};
      round_off(r);
      v = r.value;
    }
  }
  for (Link& l : m.links) {
    round_off(l.rate), round_off(l.latency);
    for (LinkRate& r : l.rates) round_off(r.rate);
  }
  for (Unit& u : m.units) {
    round_off(u.step_overhead);
    for (UnitRate& r : u.rates) round_off(r.peak), round_off(r.vector_peak), round_off(r.stream);
  }
}

}  // namespace

Machine probe_host(const ProbeOptions& o, const KernelTable& table) {
  if (o.threads < 1 || o.threads > 1024) throw Error(ErrorKind::usage, "threads must be from 1 to 1024");
  const OtherLoad load;
  Machine m;
  m.name = "host";
  m.processor = processor_name();
  m.notes = fmt::format("{} threads, instruction set {}", o.threads, name_of(o.isa));
  m.sources.push_back({kSource, fmt::format("terrace probe, {}", today()), "measured"});

  auto found = caches(o.topology_program);
  std::erase_if(found, [](const Cache& c) { return c.level > 3; });
  const HugeBuffer big(stream_bytes(found));
  auto team_of_all = std::make_unique<Team>(o.threads);
  Team& team = *team_of_all;
  measure_memory(o, found, team, big, m);
  Unit cpu;
  cpu.id = "cpu";
  cpu.kind = "simd";
  cpu.near = *m.find_tier("dram");
  cpu.threads = o.threads;
  cpu.step_overhead.value = barrier_seconds(team, 0.05);
  cpu.source = kSource;
  measure_kernels(o, table, found, team, big, cpu);
  m.units.push_back(std::move(cpu));
  team_of_all.reset();  // the engine brings threads of its own
  m.units[0].step_overhead.value = engine_step_seconds(m, o.threads, o.isa, big);
  if (!o.path.empty()) measure_disk(o, m);
  round_off(m);
  if (const double share = load.share(); share > kBusy) {
    const auto busy = fmt::format("{} {:.0f} % of the processors meanwhile", kOthers, share * 100);
    m.notes += "; " + busy;
    if (o.warn) o.warn(busy);
  }
  return m;
}

bool probed_while_busy(const Machine& machine) { return machine.notes.find(kOthers) != std::string::npos; }

bool busy_now(double seconds) {
  const OtherLoad load;
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  return load.share() > kBusy;
}

}  // namespace terrace
