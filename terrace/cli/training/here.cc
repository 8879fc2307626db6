// What `terrace` hands over is here.
#include "terrace/cli/host_machine.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"

namespace terrace::cli {

void hand_over(const Verb&, char**) {}

bool measure_host(const Args& args, const std::string& path) {
  if (!save_host(probe_now(args, path, 4, true))) return false;
  say("kept in {}\n", host_file());
  return true;
}

}  // namespace terrace::cli
