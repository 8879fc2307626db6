#include "terrace/cli/peak.h"

#include <charconv>
#include <string>

#include "terrace/cli/cgroup.h"
#include "terrace/cli/term.h"

namespace terrace::cli {
namespace {

Bytes status_kib(const std::string& status, std::string_view key) {
  std::size_t at = status.find(key);
  if (at == status.npos) return {};
  at = status.find_first_of("0123456789", at);
  u64 v = 0;
  if (at != status.npos) std::from_chars(status.data() + at, status.data() + status.size(), v);
  return Bytes{v << 10};
}

}  // namespace

Peak measure_peak() {
  const std::string status = read_small("/proc/self/status");
  if (const auto own = own_cgroup(); own && is_alone_in(*own))
    if (const auto peak = peak_of(*own)) {
      // Pages of the binary that another group touched first are charged there: ours all the same.
      const Bytes files = status_kib(status, "RssFile:"), charged = mapped_files_in(*own);
      return {*peak + (files > charged ? files - charged : Bytes{}), "cgroup"};
    }
  return {status_kib(status, "VmHWM:") + status_kib(status, "VmPTE:"), "proc"};
}

}  // namespace terrace::cli
