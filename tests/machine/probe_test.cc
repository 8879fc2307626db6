// The probe in a fraction of a second: figures must be there and sane, not exact. And the drawing.
#include "terrace/program/probe.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>

#include "terrace/core/error.h"
#include "terrace/machine/toml.h"
#include "terrace/program/probe_parts.h"
#include "terrace/program/topo.h"

namespace terrace {
namespace {

struct Folder {
  std::string path;
  Folder() {
    char name[] = "./probe-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(Probe, TellsWhenOthersTakeTheProcessors) {
  const auto share = [](bool others) {
    const pid_t child = others ? ::fork() : 0;
    if (others && child == 0) {
      ::alarm(30);  // in case nobody ends it
      while (true) asm volatile("");
    }
    const probe::OtherLoad load;
    const double end = probe::now() + 0.5;
    while (probe::now() < end) {}  // our own work is not others'
    const double s = load.share();
    if (others) ::kill(child, SIGKILL), ::waitpid(child, nullptr, 0);
    return s;
  };
  // Whatever else runs here, one more program takes most of a processor, or half of what there is.
  const double alone = share(false), beside = share(true);
  const auto processors = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_GE(alone, 0);
  EXPECT_GT(beside, 0.25 / processors);
  if (alone < 0.5) { EXPECT_LT(beside, 1 - 0.1 / processors); }  // the rest is ours
  if (alone < 0.1 / processors) { EXPECT_GT(beside, alone + 0.25 / processors); }
}

TEST(Probe, MarksWhatWasMeasuredWhileOthersRan) {
  std::vector<pid_t> others;
  for (long i = 0; i < ::sysconf(_SC_NPROCESSORS_ONLN); ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);  // in case nobody ends it
      while (true) asm volatile("");
    }
    others.push_back(child);
  }
  ProbeOptions o;
  o.threads = 1;
  o.seconds_budget = 0.1;
  o.isa = best_isa();
  int warned = 0;
  o.warn = [&](std::string_view) { ++warned; };
  const Machine m = probe_host(o, cpu_kernels(o.isa));
  const bool busy = busy_now(0.3);
  for (const pid_t p : others) ::kill(p, SIGKILL), ::waitpid(p, nullptr, 0);
  EXPECT_EQ(warned, 1);
  EXPECT_TRUE(busy);
  EXPECT_TRUE(probed_while_busy(m)) << m.notes;
  // The mark outlasts the file; others have none.
  EXPECT_TRUE(probed_while_busy(machine::parse(machine::to_toml(m), "busy")));
  EXPECT_FALSE(probed_while_busy(machine::load("raspberry-pi-5", {TERRACE_SOURCE_DIR "/machines"})));
}

TEST(Probe, MeasuresWhatAPlanNeeds) {
  const Folder folder;
  ProbeOptions o;
  o.path = folder.path;
  o.threads = 2;
  o.seconds_budget = 0.3;
  o.isa = best_isa();
  int told = 0;
  o.progress = [&](std::string_view) { ++told; };
  const KernelTable table = cpu_kernels(o.isa);
  const Machine m = probe_host(o, table);
  EXPECT_GT(told, 2);
  EXPECT_EQ(m.name, "host");
  const Tier& dram = m.tier(m.main_memory());
  EXPECT_EQ(dram.read_Bps_by_threads.size(), 2u);
  EXPECT_GT(dram.read.value, 2e8);
  EXPECT_LT(dram.read.value, 5e12);
  ASSERT_TRUE(m.file_tier());
  const u64 granule = m.tier(*m.file_tier()).granule.count;
  EXPECT_TRUE(granule >= 512 && granule <= 4096 && (granule & (granule - 1)) == 0) << granule;
  ASSERT_TRUE(m.find_link(*m.file_tier(), m.main_memory()));
  EXPECT_GE(m.links[0].rates.size(), 4u);
  for (const LinkRate& r : m.links[0].rates) EXPECT_GT(r.rate.value, 0);
  // Every kernel that a planner may choose has a rate for one thread and for all.
  for (const Kernel* k : probe::choosable(table, o.isa))
    for (int threads : {1, 2}) {
      const auto& rates = m.units[0].rates;
      EXPECT_EQ(1, std::count_if(rates.begin(), rates.end(),
                                 [&](const UnitRate& r) { return r.kernel == k->name && r.threads == threads; }))
          << k->name << " " << threads;
    }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path));
  const Machine back = machine::parse(machine::to_toml(m), "probed");
  EXPECT_EQ(machine::to_toml(back), machine::to_toml(m));
}

TEST(Probe, ReadsAGivenFileAndLeavesItAlone) {
  const Folder folder;
  const std::string path = folder.path + "/big";
  {
    std::ofstream f(path);
    const std::string piece(1 << 20, 'x');
    for (int i = 0; i < 33; ++i) f << piece;
  }
  const auto before = std::filesystem::last_write_time(path);
  const probe::DiskRates d = probe::disk_rates(path, 0.1);
  EXPECT_GT(d.best, 0);
  EXPECT_GT(d.latency, 0);
  EXPECT_EQ(std::filesystem::last_write_time(path), before);
  EXPECT_EQ(std::filesystem::file_size(path), std::uintmax_t{33} << 20);
}

TEST(Probe, SaysWhatItCannotMeasure) {
  EXPECT_THROW(probe::disk_rates("/no/such/folder", 0.1), Error);
  EXPECT_THROW(probe::disk_rates("/proc", 0.1), Error);
  ProbeOptions o;
  o.threads = 0;
  EXPECT_THROW(probe_host(o, KernelTable{}), Error);
}

TEST(Probe, Statistics) {
  EXPECT_EQ(probe::median({}), 0);
  EXPECT_EQ(probe::median({3, 1, 2}), 2);
  EXPECT_EQ(probe::median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(probe::undisturbed({}), 0);
  EXPECT_EQ(probe::undisturbed({5, 4, 3, 2, 1}), 1);
  std::vector<double> times(20, 1000);  // most were interrupted
  for (const std::size_t i : {1, 3, 5, 9, 12}) times[i] = 1;
  times[15] = 0.9;
  EXPECT_EQ(probe::undisturbed(times), 1);
  EXPECT_DOUBLE_EQ(probe::undisturbed(times, 0.5), 1.35);
  EXPECT_TRUE(probe::settled(times));
  times[3] = times[9] = 500;
  EXPECT_FALSE(probe::settled(times));
  EXPECT_EQ(probe::undisturbed(times), 0.9);
}

TEST(Probe, TeamRunsEveryWorkerOnce) {
  probe::Team team(3);
  std::atomic<int> sum{0};
  for (int i = 0; i < 200; ++i) team.run([&](int w) { sum += 1 << (8 * w); });
  EXPECT_EQ(sum.load(), 200 * 0x010101);
}

const char* const kTree = R"({"type": "Machine", "children": [{"type": "Package", "index": 0, "children": [
  {"type": "L3Cache", "level": 3, "cache": "unified", "bytes": 1048576, "children": [
    {"type": "L1Cache", "level": 1, "cache": "data", "bytes": 32768},
    {"type": "L1iCache", "level": 1, "cache": "instruction", "bytes": 65536},
    {"type": "L1Cache", "level": 1, "cache": "data", "bytes": 32768}]}]}]})";

TEST(Topo, CachesOfATree) {
  const auto caches = topo_caches(kTree);
  ASSERT_EQ(caches.size(), 2u);
  EXPECT_EQ(caches[0].bytes, 1048576u);
  EXPECT_EQ(caches[1].level, 1);
  EXPECT_EQ(caches[1].bytes, 32768u);
  EXPECT_EQ(caches[1].instances, 2);
  for (const char* bad : {"", "{", "[]", "null", "{\"children\": 3}", "{\"level\": -1, \"bytes\": \"x\"}"})
    EXPECT_TRUE(topo_caches(bad).empty()) << bad;
  EXPECT_TRUE(topo_caches(std::string(100000, '[')).empty());
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"children\":[";
  EXPECT_TRUE(topo_caches(deep).empty());
}

TEST(Topo, HelperPrintsThisMachine) {
  EXPECT_EQ(topology_json("/no/such/program"), "");
  EXPECT_EQ(topology_json("/bin/false"), "");
  const std::string helper = TERRACE_BINARY_DIR "/terrace-topology";
  if (::access(helper.c_str(), X_OK) != 0) GTEST_SKIP() << "terrace-topology is not built";
  EXPECT_NE(topology_json(helper).find("\"type\": \"PU\""), std::string::npos);
}

TEST(Topo, DrawsEveryPartOnce) {
  for (const char* name : {"raspberry-pi-5", "hbm-server"}) {
    const Machine m = machine::load(name, {TERRACE_SOURCE_DIR "/machines"});
    const std::string text = topo_text(m, kTree), svg = topo_svg(m);
    for (const Tier& t : m.tiers) {
      EXPECT_NE(text.find("| " + t.id), std::string::npos) << t.id;
      EXPECT_NE(svg.find(">" + t.id), std::string::npos) << t.id;
    }
    for (const Link& l : m.links) {
      const std::string from = m.tier(l.from).id, to = m.tier(l.to).id;
      EXPECT_NE(text.find(from + " -> " + to), std::string::npos);
      EXPECT_NE(svg.find(from + " to " + to), std::string::npos);
    }
    EXPECT_NE(text.find("L3Cache 1 MiB"), std::string::npos);
    std::size_t width = 0;  // all boxes end in one column
    for (std::size_t at = 0, end; at < text.size(); at = end + 1) {
      end = text.find('\n', at);
      if (text[at] == '|' || text[at] == '+') {
        if (width == 0) width = end - at;
        EXPECT_EQ(end - at, width);
      }
    }
  }
}

TEST(Topo, NamesCannotBreakTheDrawing) {
  Machine m = machine::load("raspberry-pi-5", {TERRACE_SOURCE_DIR "/machines"});
  m.processor = "<script>\"&\n\x1b[31m";
  EXPECT_EQ(topo_svg(m).find("<script"), std::string::npos);
  EXPECT_EQ(topo_text(m).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace terrace
