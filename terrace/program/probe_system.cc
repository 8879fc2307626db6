// What the operating system says of itself: processor, memory, caches.
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "terrace/program/probe_parts.h"
#include "terrace/program/topo.h"

namespace terrace::probe {
namespace {

/// A small file of /proc or /sys, at most 64 KiB; empty when it cannot be read.
std::string small_file(const std::string& path) {
  std::string text(64 << 10, '\0');
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = ::read(fd, text.data() + have, text.size() - have);
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  ::close(fd);
  text.resize(have);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// The rest of the line that begins with `key`, after the colon; printable characters only.
std::string field(const std::string& text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    at = end + 1;
    const std::size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string_view::npos) continue;
    std::string value;
    for (char c : line.substr(colon + 1))
      if ((c > ' ' && c < 0x7f) || (c == ' ' && !value.empty())) value += c;
    return value;
  }
  return {};
}

u64 number(std::string_view text) {
  u64 n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc{}) return 0;
  if (end != text.data() + text.size() && *end == 'K') return n << 10;
  if (end != text.data() + text.size() && *end == 'M') return n << 20;
  return n;
}

u64 meminfo(std::string_view key) { return number(field(small_file("/proc/meminfo"), key)) << 10; }

std::vector<Cache> caches_from_sys() {
  std::vector<Cache> found;
  std::set<std::string> seen;  // one instance is listed under every processor that shares it
  for (int cpu = 0; cpu < 4096; ++cpu) {
    const std::string base = fmt::format("/sys/devices/system/cpu/cpu{}/cache/", cpu);
    if (cpu > 0 && ::access(base.c_str(), F_OK) != 0) break;
    for (int i = 0; i < 16; ++i) {
      const std::string dir = fmt::format("{}index{}/", base, i);
      const std::string size = small_file(dir + "size");
      if (size.empty()) break;
      if (small_file(dir + "type") == "Instruction") continue;
      Cache c;
      c.level = static_cast<int>(number(small_file(dir + "level")));
      c.bytes = number(size);
      if (const u64 line = number(small_file(dir + "coherency_line_size")); line > 0) c.line = static_cast<int>(line);
      if (!seen.insert(fmt::format("{} {}", c.level, small_file(dir + "shared_cpu_list"))).second) continue;
      const auto same = std::find_if(found.begin(), found.end(), [&](const Cache& o) { return o.level == c.level; });
      if (same == found.end())
        found.push_back(c);
      else
        ++same->instances;
    }
  }
  return found;
}

}  // namespace

std::vector<Cache> caches(const std::string& topology_program) {
  std::vector<Cache> found;
  for (const TopoCache& c : topo_caches(topology_json(topology_program)))
    found.push_back({c.level, c.bytes, c.instances, 64});
  if (found.empty()) found = caches_from_sys();
  std::erase_if(found, [](const Cache& c) { return c.bytes == 0 || c.level < 1 || c.level > 4; });
  std::sort(found.begin(), found.end(), [](const Cache& a, const Cache& b) { return a.level < b.level; });
  return found;
}

namespace {

/// Processor seconds since boot: those of other programs and guests, and all of them, idle ones too.
void processor_seconds(double& others, double& all) {
  others = all = 0;
  const std::string stat = small_file("/proc/stat");
  const std::string_view line = std::string_view(stat).substr(0, stat.find('\n'));
  if (!line.starts_with("cpu ")) return;
  // user nice system idle iowait irq softirq steal; guests' time, which follows, is part of user's.
  double busy = 0;
  const char* at = line.data() + 4;
  const char* const end = line.data() + line.size();
  for (int i = 0; i < 8 && at < end; ++i) {
    while (at < end && *at == ' ') ++at;
    u64 ticks = 0;
    at = std::from_chars(at, end, ticks).ptr;
    all += static_cast<double>(ticks);
    if (i != 3 && i != 4) busy += static_cast<double>(ticks);
  }
  const auto rate = static_cast<double>(::sysconf(_SC_CLK_TCK));
  timespec own{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  others = busy / rate - static_cast<double>(own.tv_sec) - static_cast<double>(own.tv_nsec) * 1e-9;
  all /= rate;
}

}  // namespace

OtherLoad::OtherLoad() { processor_seconds(others_, all_); }

double OtherLoad::share() const {
  double others = 0, all = 0;
  processor_seconds(others, all);
  return all > all_ ? std::clamp((others - others_) / (all - all_), 0.0, 1.0) : 0;
}

u64 total_memory() { return meminfo("MemTotal"); }
u64 available_memory() { return meminfo("MemAvailable"); }

std::string today() {
  const time_t t = ::time(nullptr);
  tm day{};
  gmtime_r(&t, &day);
  return fmt::format("{:04}-{:02}-{:02}", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday);
}

}  // namespace terrace::probe

namespace terrace {

std::string processor_name() {
  const std::string info = probe::small_file("/proc/cpuinfo");
  for (const char* key : {"model name", "Model", "Hardware"})
    if (std::string s = probe::field(info, key); !s.empty()) return s;
  return "unknown";
}

}  // namespace terrace
