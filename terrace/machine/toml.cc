// The machine file: what may stand in it, and what must hold between its parts.
#include "terrace/machine/toml.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

#include "terrace/core/error.h"
#include "terrace/core/toml_read.h"

namespace terrace::machine {
namespace {

using toml::TableReader;
namespace fs = std::filesystem;

constexpr std::size_t kMaxTiers = 8, kMaxLinks = 64, kMaxUnits = 16, kMaxRates = 1024, kMaxSources = 64;
constexpr u64 kMaxBytes = u64{1} << 60, kMaxThreads = 4096, kMaxFile = 1 << 20;

/// Ids go into reports and file names: short and plain.
std::string read_id(TableReader& t) {
  std::string id = t.text("id");
  const bool plain = std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (!plain || id.size() > 64) t.fail("is no plain name", "letters, digits, - and _, at most 64", "id");
  return id;
}

std::string read_source(TableReader& t, const Machine& m) {
  std::string id = t.text("source");
  for (const Source& s : m.sources)
    if (s.id == id) return id;
  t.fail(fmt::format("source '{}' is not declared", id.substr(0, 80)),
         fmt::format("add [source.{}] with cite and status", id.substr(0, 80)), "source");
}

void read_sources(TableReader& root, Machine& m) {
  root.each_named("source", kMaxSources, [&](const std::string& id, TableReader& t) {
    for (const Source& o : m.sources)
      if (o.id == id) t.fail("stands twice", "ids are unique");
    Source s{id, t.text("cite"), t.one_of("status", {"measured", "published", "vendor", "derived", "recalled"})};
    t.finish();
    m.sources.push_back(std::move(s));
  });
}

TierId read_tier_ref(TableReader& t, const char* key, const Machine& m) {
  const std::string id = t.text(key);
  if (const auto found = m.find_tier(id)) return *found;
  std::vector<std::string> ids;
  for (const Tier& tier : m.tiers) ids.push_back(tier.id);
  t.fail(fmt::format("there is no tier '{}'", id.substr(0, 80)), fmt::format("tiers: {}", fmt::join(ids, ", ")), key);
}

Tier read_tier(TableReader& t, const Machine& m) {
  Tier tier;
  tier.id = read_id(t);
  t.rename("tier " + tier.id);
  if (m.find_tier(tier.id)) t.fail("this id stands twice", "ids are unique", "id");
  tier.kind = t.one_of("kind", {"sram", "dram", "hbm", "cxl", "nvme", "sdcard", "disk"});
  tier.hardware = t.one_of("managed", {"software", "hardware"}, "software") == "hardware";
  tier.persistent = t.flag("persistent");
  if (tier.hardware && tier.persistent) t.fail("a cache cannot be persistent", "drop one of the two", "persistent");
  tier.capacity = Bytes{t.count("capacity_bytes", kMaxBytes)};
  tier.instances = static_cast<int>(t.optional_count("instances", 1 << 20).value_or(1));
  // What a cache delivers is often unknown; what is planned must be known.
  tier.read.value = tier.hardware ? t.optional_number("read_Bps").value_or(0) : t.number("read_Bps");
  tier.write.value = t.optional_number("write_Bps").value_or(0);
  tier.read_Bps_by_threads = t.numbers("read_Bps_by_threads", kMaxThreads);
  tier.latency = t.duration("latency");
  tier.granule = Bytes{t.optional_count("granule_bytes", u64{1} << 30).value_or(tier.persistent ? 4096 : 64)};
  if (const u64 g = tier.granule.count; (g & (g - 1)) != 0)
    t.fail("must be a power of two", "64, 512, 4096", "granule_bytes");
  if (auto e = t.table("energy")) {
    tier.energy.read_pj_per_bit = e->optional_number("read_pj_per_bit");
    tier.energy.write_pj_per_bit = e->optional_number("write_pj_per_bit");
    e->finish();
  }
  tier.source = read_source(t, m);
  t.finish();
  return tier;
}

Link read_link(TableReader& t, const Machine& m) {
  Link l;
  l.from = read_tier_ref(t, "from", m);
  l.to = read_tier_ref(t, "to", m);
  t.rename(fmt::format("link {} -> {}", m.tier(l.from).id, m.tier(l.to).id));
  if (l.from == l.to) t.fail("leads nowhere", "from and to must differ", "to");
  if (m.find_link(l.from, l.to)) t.fail("stands twice", "one link a direction", "to");
  if (m.tier(l.from).hardware || m.tier(l.to).hardware)
    t.fail("ends in a cache", "links join tiers that software manages", "to");
  l.rate.value = t.number("Bps");
  l.latency = t.duration("latency");
  l.pj_per_bit = t.optional_number("pj_per_bit");
  l.rates.reserve(t.count_tables("rates", kMaxRates));
  t.each_table("rates", [&](TableReader& r) {
    LinkRate rate{Bytes{r.count("block_bytes", kMaxBytes)}, static_cast<int>(r.count("depth", 1 << 16)),
                  BytesPerSecond{r.number("Bps")}};
    r.finish();
    for (const LinkRate& o : l.rates)
      if (o.block == rate.block && o.depth == rate.depth)
        r.fail("stands twice", "one entry a block and depth", "depth");
    l.rates.push_back(rate);
  });
  l.source = read_source(t, m);
  t.finish();
  return l;
}

UnitRate read_rate(TableReader& t, const Unit& u) {
  UnitRate r;
  r.kernel = t.text("kernel");
  t.rename(fmt::format("unit {} rate {}", u.id, r.kernel.substr(0, 80)));
  r.threads = static_cast<int>(t.optional_count("threads", kMaxThreads).value_or(static_cast<u64>(u.threads)));
  r.peak.value = t.number("peak_ops");
  r.vector_peak.value = t.optional_number("vector_peak_ops").value_or(0);
  r.stream.value = t.optional_number("stream_Bps").value_or(0);
  r.pj_per_op = t.optional_number("pj_per_op");
  t.finish();
  for (const UnitRate& o : u.rates)
    if (o.kernel == r.kernel && o.threads == r.threads)
      t.fail("stands twice", "one rate a kernel and threads", "kernel");
  return r;
}

Unit read_unit(TableReader& t, const Machine& m) {
  Unit u;
  u.id = read_id(t);
  t.rename("unit " + u.id);
  for (const Unit& o : m.units)
    if (o.id == u.id) t.fail("this id stands twice", "ids are unique", "id");
  u.kind = t.one_of("kind", {"scalar", "simd", "systolic", "tensor", "pim_simd", "gather", "neurocore", "crossbar"});
  u.near = read_tier_ref(t, "near", m);
  if (m.tier(u.near).hardware || m.tier(u.near).persistent)
    t.fail("must be a volatile tier that software manages", "for example dram", "near");
  u.threads = static_cast<int>(t.optional_count("threads", kMaxThreads).value_or(1));
  u.step_overhead = t.duration("step_overhead");
  u.rates.reserve(t.count_tables("rate", kMaxRates));
  t.each_table("rate", [&](TableReader& r) { u.rates.push_back(read_rate(r, u)); });
  if (u.rates.empty()) t.fail("has no rate", "add a [[unit.rate]] with kernel and peak_ops");
  u.source = read_source(t, m);
  t.finish();
  return u;
}

Machine read_machine(const toml::Body& doc, std::string_view origin) {
  TableReader root(doc, "", origin, true);
  if (root.count("schema", 1 << 20) != 1) root.fail("is not supported", "this program reads schema 1", "schema");
  Machine m;
  auto head = root.table("machine");
  if (!head) root.fail("key 'machine' is missing", "add [machine] with a name");
  m.name = head->text("name");
  m.processor = head->text_or("processor", {});
  m.notes = head->text_or("notes", {});
  m.idle_w = head->optional_number("idle_w");
  m.tdp_w = head->optional_number("tdp_w");
  head->finish();
  read_sources(root, m);
  root.count_tables("tier", kMaxTiers), root.count_tables("link", kMaxLinks), root.count_tables("unit", kMaxUnits);
  root.each_table("tier", [&](TableReader& t) { m.tiers.push_back(read_tier(t, m)); });
  root.each_table("link", [&](TableReader& t) { m.links.push_back(read_link(t, m)); });
  root.each_table("unit", [&](TableReader& t) { m.units.push_back(read_unit(t, m)); });
  root.finish();
  if (m.units.empty()) root.fail("there is no unit", "add a [[unit]] that computes");
  if (const auto file = m.file_tier(); file && !m.find_link(*file, m.main_memory()))
    root.fail(fmt::format("there is no link from '{}' to '{}'", m.tier(*file).id, m.tier(m.main_memory()).id),
              "files must be able to reach the tier of the first unit: add a [[link]]");
  return m;
}

std::string read_text(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    if (fd >= 0) ::close(fd);
    throw Error(ErrorKind::usage, "cannot open the machine file", path,
                "give a .toml file or the name of a shipped machine");
  }
  std::string text;
  text.resize(std::min<u64>(static_cast<u64>(st.st_size), kMaxFile + 1));
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = ::read(fd, text.data() + have, text.size() - have);
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  ::close(fd);
  text.resize(have);
  return text;
}

/// "NAME" of every NAME.toml under the folders, sorted.
std::vector<std::string> names_in(const std::vector<fs::path>& folders) {
  std::vector<std::string> names;
  for (const fs::path& folder : folders) {
    std::error_code ec;
    for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
      if (it->path().extension() == ".toml") names.push_back(it->path().stem().string());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace

Machine parse(std::string_view text, std::string_view origin) {
  const std::string at(origin);
  if (text.size() > kMaxFile) throw Error(ErrorKind::bad_file, "the machine file is longer than 1 MiB", at, "split it");
  try {
    return read_machine(toml::whole(text), origin);
  } catch (const toml::SyntaxError& e) {
    throw Error(ErrorKind::bad_file, fmt::format("this is not the TOML of machine files: {}", e.what),
                fmt::format("{}:{}", at, e.line), "see machines/README.md for an example");
  }
}

Machine load(const std::string& name, const std::vector<fs::path>& search) {
  const bool is_path = name.find('/') != std::string::npos || name.ends_with(".toml");
  if (is_path) return parse(read_text(name), name);
  for (const fs::path& folder : search) {
    const fs::path file = folder / (name + ".toml");
    std::error_code ec;
    if (fs::is_regular_file(file, ec)) return parse(read_text(file.string()), file.string());
  }
  const auto names = names_in(search);
  throw Error(ErrorKind::usage, fmt::format("there is no machine '{}'", name), {},
              names.empty() ? std::string("give a path to a .toml file")
                            : fmt::format("available: {}; or give a path", fmt::join(names, ", ")));
}

}  // namespace terrace::machine
