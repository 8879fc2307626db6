#include "terrace/cli/host_machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "terrace/cli/term.h"
#include "terrace/core/error.h"
#include "terrace/machine/toml.h"
#include "terrace/program/probe.h"
#include "terrace/program/reserve.h"

namespace terrace::cli {
namespace {

/// The saved description, if there is one and it is of this processor.
std::optional<Machine> saved_host() {
  const std::string path = host_file();
  if (path.empty() || ::access(path.c_str(), R_OK) != 0) return std::nullopt;
  try {
    Machine m = machine::load(path);
    const std::string processor = processor_name();
    if (m.processor == processor) return m;
  } catch (const Error&) {
    // Written by another version, or damaged: as good as none.
  }
  return std::nullopt;
}

/// Deliberately slow, so that nothing is promised that a real machine does not keep.
Machine cautious_guess(int threads) {
  Machine m;
  m.name = "unmeasured";
  m.processor = processor_name();
  m.notes = "not measured: a cautious guess";
  m.sources.push_back({"guess", "built into the tool; not measured", "recalled"});
  Tier dram;
  dram.id = dram.kind = "dram";
  dram.capacity = Bytes{static_cast<u64>(::sysconf(_SC_PHYS_PAGES)) * static_cast<u64>(::sysconf(_SC_PAGESIZE))};
  dram.read = dram.write = BytesPerSecond{10e9};
  dram.latency = Seconds{100e-9};
  dram.source = "guess";
  Tier disk;
  disk.id = "disk";
  disk.kind = "nvme";
  disk.persistent = true;
  disk.capacity = Bytes{u64{1} << 40};
  disk.read = disk.write = BytesPerSecond{0.5e9};
  disk.latency = Seconds{200e-6};
  disk.granule = Bytes{4096};
  disk.source = "guess";
  m.tiers = {dram, disk};
  m.links.push_back({1, 0, BytesPerSecond{0.5e9}, Seconds{200e-6}, {}, {}, "guess"});
  Unit cpu;
  cpu.id = "cpu";
  cpu.kind = "simd";
  cpu.near = 0;
  cpu.threads = threads;
  cpu.step_overhead = Seconds{2e-6};
  cpu.source = "guess";
  for (const char* what : {"contraction", "attention", "normalisation", "elementwise", "data_movement", "optimizer"})
    cpu.rates.push_back({what, 1, OpsPerSecond{5e9}, OpsPerSecond{5e9}, BytesPerSecond{5e9}, {}});
  m.units.push_back(cpu);
  return m;
}

bool make_folders(const std::string& file) {
  for (std::size_t at = file.find('/', 1); at != file.npos; at = file.find('/', at + 1))
    if (::mkdir(file.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST) return false;
  return true;
}

}  // namespace

int threads_of(const Args& args) {
  cpu_set_t set;
  int cores = 1;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) cores = std::max(1, CPU_COUNT(&set));
  return static_cast<int>(args.integer("threads", cores, 1, 1024));
}

Isa isa_of(const Args& args) {
  static constexpr const char* kNames[] = {"auto", "avx512bf16", "avx512", "avx2", "portable", "neon"};
  const std::size_t i = args.choice("isa", kNames);
  if (i == 0) return best_isa();
  Isa isa{};
  if (i == 5 || !parse(kNames[i], isa) || isa > best_isa())
    throw Error(ErrorKind::usage, fmt::format("this processor or build has no {}", kNames[i]), "--isa",
                fmt::format("the best here is {}", name_of(best_isa())));
  return isa;
}

std::string program_folder() {
  char exe[4096];
  const ssize_t n = ::readlink("/proc/self/exe", exe, sizeof exe);
  const std::string path(exe, n > 0 ? static_cast<std::size_t>(n) : 0);
  return path.substr(0, path.rfind('/') == path.npos ? 0 : path.rfind('/'));
}

std::string host_file() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::string(cache) + "/terrace/host.toml";
  if (const char* home = std::getenv("HOME"); home && *home == '/')
    return std::string(home) + "/.cache/terrace/host.toml";
  return {};
}

bool save_host(const Machine& machine) {
  const std::string path = host_file();
  if (path.empty() || !make_folders(path)) return false;
  try {
    write_file(path, machine::to_toml(machine));  // whole or not at all: others may be reading
  } catch (const Error&) { return false; }
  return true;
}

void probe_if_unknown(const Args& args, const std::string& path) {
  if (args.has("machine") || args.has("enforced-by")) return;
  const auto limit = enclosing_limit();
  if ((limit && *limit < 1_GiB) || available_memory() < 1_GiB || host_file().empty()) return;
  const pid_t child = ::fork();  // what probing and reading the file leave in memory goes with it
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    int code = 0;
    try {
      const auto saved = saved_host();
      const bool doubtful = saved && probed_while_busy(*saved);
      if (doubtful && busy_now(0.2)) {  // no better figures to be had
        say("terrace: this machine was measured while it was busy, as it is now: times are too long\n");
      } else if (!saved || doubtful) {
        say("terrace: measuring this machine {}, a few seconds\n", doubtful ? "again, which was busy" : "once");
        code = measure_host(args, path) ? 0 : 2;
      }
    } catch (const std::exception& e) { say("terrace: the machine cannot be measured: {}\n", e.what()); }
    ::_exit(code);
  }
  for (int status = 0; child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR;) {}
}

Machine load_machine(const std::string& name_or_path) {
  const std::string here = program_folder();
  try {
    return machine::load(name_or_path,
                         {here + "/../../machines", here + "/../share/terrace/machines", here + "/machines"});
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::usage) throw;
    throw Error(e.kind(), e.message(), e.where(), "host, the probed machine; " + e.hint());
  }
}

Machine machine_named(const Args& args, const std::string& name) {
  if (name != "host") return load_machine(name);
  if (auto m = saved_host()) return *std::move(m);
  say("terrace: this machine has not been measured; times are a cautious guess (terrace probe)\n");
  return cautious_guess(threads_of(args));
}

Machine machine_of(const Args& args) { return machine_named(args, args.text("machine", "host")); }

}  // namespace terrace::cli
