// Small files of /proc and /sys.
#pragma once

#include <string>

namespace terrace {

/// The file as text, at most about 1 MiB of it; empty if it cannot be read.
std::string read_small(const std::string& path);

}  // namespace terrace
