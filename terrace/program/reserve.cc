#include "terrace/program/reserve.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "terrace/core/small_file.h"

namespace terrace {
namespace {

std::optional<u64> leading_number(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  u64 v = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), v);
  return ec == std::errc{} && end != s.data() ? std::optional<u64>(v) : std::nullopt;
}

/// The smallest limit at `path` under `root` or any folder above it.
void tighten(std::optional<Bytes>& limit, const std::string& root, std::string path, const char* file) {
  while (true) {
    // "max" is no number; v1 writes a huge one for "no limit".
    const std::optional<u64> v = leading_number(read_small(root + path + "/" + file));
    if (v && *v < (u64{1} << 60)) limit = limit ? std::min(*limit, Bytes{*v}) : Bytes{*v};
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || path.empty()) return;
    path.resize(slash);
  }
}

}  // namespace

std::vector<Reserve> process_reserves(TierId memory, const ProcessNeeds& n) {
  struct stat st {};
  const u64 binary = ::stat("/proc/self/exe", &st) == 0 ? static_cast<u64>(st.st_size) : 4u << 20;
  const auto threads = static_cast<u64>(n.threads);
  std::vector<Reserve> r;
  const auto add = [&](const char* name, u64 bytes, std::string source) {
    if (bytes) r.push_back({name, memory, Bytes{round_up(bytes, 4096)}, std::move(source)});
  };
  // A cold start reads the whole file ahead into page cache; what it writes (data, relocations) exists twice.
  add(kBinaryReserve, binary + (128 << 10), "size of the executable, and its written pages");
  add("heap and libraries", 384 << 10, "measured: malloc and buffers of the tool");
  add("threads", threads * (48 << 10), "measured: stack pages touched and kernel memory of a thread");
  add("io_uring and kernel", 192 << 10, "measured: rings, page tables of the process, socket and file structures");
  if (n.tokenizer.count) add("tokenizer", n.tokenizer.count, "its own count");
  if (n.header.count) add("file metadata", n.header.count, "keys and tensors of the file's header");
  if (n.graph.count) add("graph", n.graph.count, "its own count");
  if (n.data.count) add("training data", n.data.count, "its own count");
  if (n.logits) add("logits", static_cast<u64>(n.logits) * 8, "copy and order for sampling");
  if (n.others.count) add(kOthersReserve, n.others.count, "the caller's figure");
  return r;
}

std::optional<Bytes> enclosing_limit() {
  std::optional<Bytes> limit;
  const std::string self = read_small("/proc/self/cgroup");
  for (std::size_t at = 0; at < self.size();) {
    std::size_t end = self.find('\n', at);
    if (end == std::string::npos) end = self.size();
    const std::string line = self.substr(at, end - at);
    at = end + 1;
    const std::size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1);
    std::string path = line.substr(b + 1);
    if (path == "/") path.clear();
    if (controllers.empty())
      tighten(limit, "/sys/fs/cgroup", path, "memory.max");
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      tighten(limit, "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
  }
  return limit;
}

Bytes available_memory() {
  const std::string info = read_small("/proc/meminfo");
  const std::size_t at = info.find("MemAvailable:");
  if (at != std::string::npos)
    if (const auto kib = leading_number(std::string_view(info).substr(at + 13))) return Bytes{*kib << 10};
  return Bytes{static_cast<u64>(::sysconf(_SC_AVPHYS_PAGES)) * static_cast<u64>(::sysconf(_SC_PAGESIZE))};
}

Bytes default_budget() {
  Bytes b = available_memory();
  if (const auto limit = enclosing_limit()) b = std::min(b, *limit);
  return Bytes{b.count / 10 * 9};
}

}  // namespace terrace
