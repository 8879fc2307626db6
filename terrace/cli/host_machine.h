// Which machine the work is planned for: a given one, or this host as it was probed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "terrace/cli/args.h"
#include "terrace/kernels/kernel.h"
#include "terrace/machine/machine.h"

namespace terrace::cli {

/// Threads of --threads: by default the cores this process may use.
int threads_of(const Args& args);
/// Instruction set of --isa; Error(usage) for one that this processor has not.
Isa isa_of(const Args& args);

/// Where `terrace probe` keeps the host's description: $XDG_CACHE_HOME/terrace/host.toml or ~/.cache/...; may be empty.
std::string host_file();
/// Measures the host; `path` is on the file system to measure.
Machine probe_now(const Args& args, const std::string& path, double seconds, bool show);
/// The same, kept where host_file() says; false if it cannot be kept. In `terrace` this ends in another program, whose
/// exit code says so: to be called in a child.
bool measure_host(const Args& args, const std::string& path);
/// Writes the description where host_file() says; false if that cannot be done.
bool save_host(const Machine& machine);

/// Probes in a process of its own if nothing is known of this host, or only what was measured while others kept it busy
/// and now no longer do, and if it may use at least 1 GiB. Prints one line. To be called before the budget is enforced.
/// `path`: the model.
void probe_if_unknown(const Args& args, const std::string& path);
/// The machine of that file or name; "host" is the host as saved, else a cautious guess, which is said on standard
/// error.
Machine machine_named(const Args& args, const std::string& name);
/// The machine of --machine; default: host.
Machine machine_of(const Args& args);
/// A machine by file or name, looked for beside the executable.
Machine load_machine(const std::string& name_or_path);
/// Folder of this executable, without a slash at the end.
std::string program_folder();

}  // namespace terrace::cli
