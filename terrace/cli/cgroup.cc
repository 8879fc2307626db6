#include "terrace/cli/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "terrace/cli/term.h"

namespace terrace::cli {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";
constexpr const char* kRoot1 = "/sys/fs/cgroup/memory";

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool put(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int code = errno;
  ::close(fd);
  errno = code;
  return good;
}

std::optional<u64> number_in(const std::string& path, std::string_view key = {}) {
  const std::string s = read_small(path);
  const std::size_t at = key.empty() ? 0 : s.find(key);
  if (at == s.npos || s.empty()) return std::nullopt;
  const char* begin = s.data() + at + key.size();
  while (*begin == ' ') ++begin;
  u64 v = 0;
  if (std::from_chars(begin, s.data() + s.size(), v).ec != std::errc{}) return std::nullopt;
  return v;
}

/// Below which folders a child may be tried, best first.
std::vector<std::string> parents(const Cgroup& own) {
  std::vector<std::string> all;
  if (own.version == 1) {
    all.push_back(own.folder);
    if (own.folder != kRoot1) all.emplace_back(kRoot1);
    return all;
  }
  // A v2 group with processes in it cannot have limited children, unless it is the root: then a sibling does.
  const std::string up = own.folder.substr(0, own.folder.rfind('/'));
  for (const std::string& folder : {own.folder, up})
    if (folder.starts_with(kRoot) && read_small(folder + "/cgroup.subtree_control").find("memory") != std::string::npos)
      all.push_back(folder);
  return all;
}

bool limit(const Cgroup& g, Bytes bytes) {
  const std::string text = std::to_string(round_down(bytes.count, 4096));
  if (g.version == 1) {
    if (!put(g.folder + "/memory.limit_in_bytes", text)) return false;
    put(g.folder + "/memory.swappiness", "0");
    // Without swap accounting there is no such file.
    return !exists(g.folder + "/memory.memsw.limit_in_bytes") || put(g.folder + "/memory.memsw.limit_in_bytes", text);
  }
  if (!put(g.folder + "/memory.max", text)) return false;
  return !exists(g.folder + "/memory.swap.max") || put(g.folder + "/memory.swap.max", "0");
}

}  // namespace

std::optional<Cgroup> own_cgroup() {
  const std::string self = read_small("/proc/self/cgroup");
  std::optional<Cgroup> found;
  for (std::size_t at = 0; at < self.size();) {
    const std::size_t end = std::min(self.find('\n', at), self.size());
    const std::string_view line(self.data() + at, end - at);
    at = end + 1;
    const std::size_t a = line.find(':'), b = a == line.npos ? a : line.find(':', a + 1);
    if (b == line.npos) continue;
    const std::string names = fmt::format(",{},", line.substr(a + 1, b - a - 1));
    std::string path(line.substr(b + 1));
    if (path == "/") path.clear();
    if (names.find(",memory,") != names.npos && exists(std::string(kRoot1) + "/memory.limit_in_bytes")) {
      // In a container the path may be the host's, which is not seen from inside: then the mount's root is ours.
      std::string folder = kRoot1 + path;
      return Cgroup{exists(folder) ? std::move(folder) : kRoot1, 1};
    }
    if (names == ",," && exists(std::string(kRoot) + "/cgroup.controllers")) {
      std::string folder = kRoot + path;
      found = Cgroup{exists(folder) ? std::move(folder) : kRoot, 2};
    }
  }
  return found;
}

bool is_alone_in(const Cgroup& g) {
  if (g.folder == kRoot || g.folder == kRoot1) return false;
  const std::string procs = read_small(g.folder + "/cgroup.procs");
  return procs == fmt::format("{}\n", ::getpid());
}

std::optional<Cgroup> make_cgroup(Bytes bytes, std::string& why) {
  const auto own = own_cgroup();
  if (!own) {
    why = "no memory cgroup is to be seen";
    return std::nullopt;
  }
  why = "the memory controller is not delegated to this process";
  for (const std::string& parent : parents(*own)) {
    const Cgroup g{fmt::format("{}/terrace.{}", parent, ::getpid()), own->version};
    if (::mkdir(g.folder.c_str(), 0755) != 0) {
      why = fmt::format("{}: {}", g.folder, std::strerror(errno));
      continue;
    }
    if (limit(g, bytes)) return g;
    why = fmt::format("{}: the limit cannot be set: {}", g.folder, std::strerror(errno));
    remove(g);
  }
  return std::nullopt;
}

bool join(const Cgroup& g) { return put(g.folder + "/cgroup.procs", std::to_string(::getpid())); }

void remove(const Cgroup& g) {
  // A process that has just ended may still be listed for a moment.
  for (int i = 0; i < 50 && ::rmdir(g.folder.c_str()) != 0 && errno == EBUSY; ++i) ::usleep(10000);
}

std::optional<Bytes> peak_of(const Cgroup& g) {
  const auto v = number_in(g.folder + (g.version == 1 ? "/memory.max_usage_in_bytes" : "/memory.peak"));
  return v ? std::optional<Bytes>(Bytes{*v}) : std::nullopt;
}

Bytes mapped_files_in(const Cgroup& g) {
  return Bytes{number_in(g.folder + "/memory.stat", g.version == 1 ? "mapped_file " : "file_mapped ").value_or(0)};
}

u64 kills_in(const Cgroup& g) {
  return number_in(g.folder + (g.version == 1 ? "/memory.oom_control" : "/memory.events"), "oom_kill ").value_or(0);
}

}  // namespace terrace::cli
