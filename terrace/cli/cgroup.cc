#include "terrace/cli/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
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

/// Whether children of this v2 group can be limited. The controller is switched on for them if need be and stays on,
/// since others may have come to count on it: allowed in the root and where there are no processes.
bool has_limited_children(const std::string& folder) {
  const std::string file = folder + "/cgroup.subtree_control";
  return read_small(file).find("memory") != std::string::npos || put(file, "+memory");
}

bool holds_only_us(const std::string& folder) {
  return read_small(folder + "/cgroup.procs") == fmt::format("{}\n", ::getpid());
}

void remove_folder(const std::string& folder) {
  // A process that has just ended may still be listed for a moment.
  for (int i = 0; i < 50 && ::rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i) ::usleep(10000);
}

/// Groups whose makers were killed before they could remove them. What still holds a process stays.
void remove_stale(const std::string& parent) {
  DIR* folder = ::opendir(parent.c_str());
  if (!folder) return;
  while (const dirent* e = ::readdir(folder)) {
    const std::string_view name = e->d_name;
    pid_t maker = 0;
    if (!name.starts_with("terrace.")) continue;
    const char *begin = name.data() + 8, *end = name.data() + name.size();
    const auto parsed = std::from_chars(begin, end, maker);
    const std::string_view rest(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr));
    if (parsed.ec != std::errc() || (!rest.empty() && rest != ".waits")) continue;
    // One of our own number was another's; what is in use cannot be removed.
    if (maker == ::getpid() || (::kill(maker, 0) != 0 && errno == ESRCH))
      ::rmdir(fmt::format("{}/{}", parent, name).c_str());
  }
  ::closedir(folder);
}

/// Back from `aside`. Its parent takes processes again only when it limits no children.
void step_back(const std::string& aside) {
  const std::string own = aside.substr(0, aside.rfind('/'));
  put(own + "/cgroup.subtree_control", "-memory");
  put(own + "/cgroup.procs", std::to_string(::getpid()));
  remove_folder(aside);
}

/// Moves this process from a group that it has to itself into a child of it, so that others can be limited there. The
/// child's folder; nothing if that is not to be.
std::string step_aside(const std::string& own) {
  if (!holds_only_us(own)) return {};
  std::string aside = fmt::format("{}/terrace.{}.waits", own, ::getpid());
  if (::mkdir(aside.c_str(), 0755) != 0) return {};
  if (put(aside + "/cgroup.procs", std::to_string(::getpid())) && has_limited_children(own)) return aside;
  step_back(aside);
  return {};
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
  return holds_only_us(g.folder);
}

std::optional<Cgroup> make_cgroup(Bytes bytes, Place place, std::string& why) {
  const auto own = own_cgroup();
  if (!own) {
    why = "no memory cgroup is to be seen";
    return std::nullopt;
  }
  const auto make = [&](const std::string& parent, std::string aside = {}) -> std::optional<Cgroup> {
    remove_stale(parent);
    const Cgroup g{fmt::format("{}/terrace.{}", parent, ::getpid()), own->version, std::move(aside)};
    if (::mkdir(g.folder.c_str(), 0755) != 0) {
      why = fmt::format("{}: {}", g.folder, std::strerror(errno));
      if (!g.aside.empty()) step_back(g.aside);
      return std::nullopt;
    }
    if (limit(g, bytes)) return g;
    why = fmt::format("{}: the limit cannot be set: {}", g.folder, std::strerror(errno));
    remove(g);
    return std::nullopt;
  };
  if (own->version == 1) {
    if (place == Place::nearby) return std::nullopt;
    auto g = make(own->folder);
    return g || own->folder == kRoot1 ? g : make(kRoot1);
  }
  why = "the memory controller is not delegated to this process";
  if (place == Place::below) return has_limited_children(own->folder) ? make(own->folder) : std::nullopt;
  if (std::string aside = step_aside(own->folder); !aside.empty()) return make(own->folder, std::move(aside));
  // Others' groups are left as they are: only where limits are in force already.
  const std::string up = own->folder.substr(0, own->folder.rfind('/'));
  const bool limits = up.starts_with(kRoot) && read_small(up + "/cgroup.subtree_control").find("memory") != up.npos;
  return limits ? make(up) : std::nullopt;
}

bool join(const Cgroup& g) { return put(g.folder + "/cgroup.procs", std::to_string(::getpid())); }

void remove(const Cgroup& g) {
  remove_folder(g.folder);
  if (!g.aside.empty()) step_back(g.aside);
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
