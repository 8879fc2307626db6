// The tree that terrace-topology prints: running it, and what is taken from it.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>

#include "terrace/program/topo.h"
#include "terrace/program/topo_parts.h"

namespace terrace {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxTree = 4 << 20;
constexpr int kMaxMilliseconds = 5000;

/// Everything until the end of the pipe; empty if it takes too long or grows too large.
std::string read_all(int fd) {
  std::string text;
  char piece[16 << 10];
  pollfd p{fd, POLLIN, 0};
  while (text.size() <= kMaxTree) {
    const int ready = ::poll(&p, 1, kMaxMilliseconds);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return {};
    const ssize_t n = ::read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return {};
    if (n == 0) return text;
    text.append(piece, static_cast<std::size_t>(n));
  }
  return {};
}

json parse_tree(std::string_view text) {
  // A callback bounds the depth: the walk below recurses.
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth < 64; };
  json j = json::parse(text, shallow, false);
  return j.is_object() ? j : json();
}

u64 count_of(const json& j, const char* key) {
  const auto it = j.find(key);
  return it != j.end() && it->is_number_unsigned() ? it->get<u64>() : 0;
}

std::string text_of(const json& j, const char* key) {
  const auto it = j.find(key);
  return it != j.end() && it->is_string() ? it->get<std::string>() : std::string();
}

template <class F>
void walk(const json& j, int depth, const F& f) {
  if (!j.is_object()) return;
  f(j, depth);
  const auto children = j.find("children");
  if (children == j.end() || !children->is_array()) return;
  for (const json& c : *children) walk(c, depth + 1, f);
}

std::string label(const json& j) {
  const std::string type = text_of(j, "type");
  std::string s = type;
  if (j.contains("index") && type != "Machine") s += fmt::format(" {}", count_of(j, "index"));
  if (std::string name = text_of(j, "name"); !name.empty()) s += " " + name;
  if (std::string model = text_of(j, "model"); !model.empty()) s += " " + model;
  if (const u64 bytes = count_of(j, "bytes"); bytes > 0) s += " " + topo::bytes_text(bytes);
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return s.substr(0, 72);
}

}  // namespace

std::string topology_json(const std::string& program) {
  if (program.empty() || ::access(program.c_str(), X_OK) != 0) return {};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  char* argv[] = {const_cast<char*>(program.c_str()), nullptr};
  pid_t child = 0;
  const int e = ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv, ::environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text = e == 0 ? read_all(ends[0]) : std::string();
  ::close(ends[0]);
  if (e != 0) return {};
  if (text.empty()) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? text : std::string();
}

std::vector<TopoCache> topo_caches(std::string_view tree) {
  std::vector<TopoCache> found;
  if (tree.empty()) return found;
  walk(parse_tree(tree), 0, [&](const json& j, int) {
    const u64 bytes = count_of(j, "bytes"), level = count_of(j, "level");
    if (level < 1 || level > 8 || bytes == 0 || text_of(j, "cache") == "instruction") return;
    const auto same = std::find_if(found.begin(), found.end(),
                                   [&](const TopoCache& c) { return c.level == static_cast<int>(level); });
    if (same != found.end())
      ++same->instances;
    else
      found.push_back({static_cast<int>(level), bytes, 1});
  });
  return found;
}

std::string topo::tree_text(std::string_view tree) {
  std::string out;
  if (tree.empty()) return out;
  int lines = 0;
  walk(parse_tree(tree), 0, [&](const json& j, int depth) {
    if (++lines > 200) return;
    const std::string pad(static_cast<std::size_t>(std::min(depth, 12)) * 2, ' ');
    out += lines == 201 ? "  ...\n" : fmt::format("  {}{}\n", pad, label(j));
  });
  if (lines > 200) out += "  ... (large machine: see terrace-topology)\n";
  return out;
}

}  // namespace terrace
