// Shared by the files that draw a machine.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "terrace/core/units.h"

namespace terrace::topo {

/// "1.5 GiB", "512 KiB"
std::string bytes_text(u64 bytes);
/// "2.4 GB/s"
std::string rate_text(double bytes_per_second);
/// "85 us", "120 ns"
std::string time_text(double seconds);
/// "232 Gop/s"
std::string ops_text(double ops_per_second);
/// The indented tree; empty for text that is none.
std::string tree_text(std::string_view tree);

}  // namespace terrace::topo
