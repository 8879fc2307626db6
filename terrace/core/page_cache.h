// Whether reads leave pages behind: they would be charged to the process that read them.
#pragma once

#include "terrace/core/units.h"

namespace terrace {

/// Some file systems accept O_DIRECT and read through the page cache all the same (ext4 with data=journal, encryption or
/// verity; some network and FUSE file systems). Reads one page of `fd`, opened with O_DIRECT, that is not cached (or
/// lets go of one), and looks whether it is cached afterwards. False where that cannot be seen. Throws nothing.
bool is_silently_buffered(int fd, u64 file_bytes);

}  // namespace terrace
