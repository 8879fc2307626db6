// terrace-topology: the tree of packages, caches, cores and memory as hwloc sees it, as JSON on standard output.
// A program of its own, because hwloc's libraries would count against every memory budget.
#include <fmt/format.h>
#include <hwloc.h>

#include <cstdio>
#include <cstring>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
// Plugins of hwloc (PCI, OpenCL) leak a little at their start, and a leak's exit code would be taken for a failure.
extern "C" int __lsan_is_turned_off();
int __lsan_is_turned_off() { return 1; }
#endif

namespace {

std::string json_string(const char* s) {
  std::string out = "\"";
  for (; *s; ++s) {
    const auto c = static_cast<unsigned char>(*s);
    if (c == '"' || c == '\\')
      (out += '\\') += *s;
    else if (c < 0x20 || c >= 0x7f)
      out += fmt::format("\\u{:04x}", c);
    else
      out += *s;
  }
  return out += '"';
}

const char* cache_type(hwloc_obj_cache_type_t t) {
  return t == HWLOC_OBJ_CACHE_INSTRUCTION ? "instruction" : t == HWLOC_OBJ_CACHE_DATA ? "data" : "unified";
}

/// The object's own members, then its memory, I/O and normal children.
void print_object(hwloc_obj_t o, std::string& out, int depth) {
  const std::string pad(static_cast<std::size_t>(depth) * 2, ' ');
  out += fmt::format("{}{{\"type\": {}", pad, json_string(hwloc_obj_type_string(o->type)));
  if (o->os_index != HWLOC_UNKNOWN_INDEX) out += fmt::format(", \"index\": {}", o->os_index);
  if (o->name && *o->name) out += fmt::format(", \"name\": {}", json_string(o->name));
  if (const char* model = hwloc_obj_get_info_by_name(o, "CPUModel"))
    out += fmt::format(", \"model\": {}", json_string(model));
  if (hwloc_obj_type_is_cache(o->type)) {
    const auto& c = o->attr->cache;
    out += fmt::format(", \"level\": {}, \"cache\": \"{}\", \"bytes\": {}, \"line_bytes\": {}", c.depth,
                       cache_type(c.type), c.size, c.linesize);
    if (o->cpuset) out += fmt::format(", \"shared_by\": {}", hwloc_bitmap_weight(o->cpuset));
  }
  if (o->type == HWLOC_OBJ_NUMANODE) out += fmt::format(", \"bytes\": {}", o->attr->numanode.local_memory);
  if (o->type == HWLOC_OBJ_OS_DEVICE && o->attr->osdev.type == HWLOC_OBJ_OSDEV_BLOCK)
    if (const char* size = hwloc_obj_get_info_by_name(o, "Size"))
      out += fmt::format(", \"size_KiB\": {}", json_string(size));
  const hwloc_obj_t lists[] = {o->memory_first_child, o->io_first_child, o->first_child};
  bool any = false;
  for (hwloc_obj_t list : lists)
    for (hwloc_obj_t c = list; c; c = c->next_sibling) {
      out += any ? ",\n" : ", \"children\": [\n";
      any = true;
      print_object(c, out, depth + 1);
    }
  if (any) out += fmt::format("\n{}]", pad);
  out += '}';
}

int help(std::FILE* to, int code) {
  std::fputs(
      "terrace-topology: prints the tree of this machine (packages, caches, cores, memory, block devices) as JSON.\n\n"
      "usage: terrace-topology [FILE.xml]\n\n"
      "  FILE.xml   a tree that hwloc's lstopo saved, instead of this machine\n\n"
      "examples:\n  terrace-topology\n  lstopo there.xml && terrace-topology there.xml\n",
      to);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) return help(stdout, 0);
  if (argc > 2 || (argc == 2 && argv[1][0] == '-')) return help(stderr, 2);
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return 1;
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  if (argc == 2 && hwloc_topology_set_xml(topology, argv[1]) != 0) {
    fmt::print(stderr, "terrace-topology: {}: no such file, or no tree of hwloc's\n", argv[1]);
    hwloc_topology_destroy(topology);
    return 4;
  }
  if (hwloc_topology_load(topology) != 0) {
    std::fputs("terrace-topology: hwloc cannot read this machine\n", stderr);
    hwloc_topology_destroy(topology);
    return argc == 2 ? 4 : 1;
  }
  std::string out;
  print_object(hwloc_get_root_obj(topology), out, 0);
  out += '\n';
  hwloc_topology_destroy(topology);
  const bool ok = std::fwrite(out.data(), 1, out.size(), stdout) == out.size() && std::fflush(stdout) == 0;
  return ok ? 0 : 1;
}
