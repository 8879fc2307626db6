#include "terrace/cli/huge_pages.h"

#include <sys/prctl.h>

#include <string>

#include "terrace/core/small_file.h"

namespace terrace::cli {
namespace {

constexpr const char* kSetting = "/sys/kernel/mm/transparent_hugepage/enabled";

bool setting_is(const char* choice) { return read_small(kSetting).find(choice) != std::string::npos; }

}  // namespace

void refuse_huge_pages() {
  if (setting_is("[always]")) ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

const char* huge_pages_lost() {
  return setting_is("[never]")
             ? "transparent huge pages are switched off here: the disk is read into small pages, which "
               "is slower (/sys/kernel/mm/transparent_hugepage/enabled)"
             : "";
}

}  // namespace terrace::cli
