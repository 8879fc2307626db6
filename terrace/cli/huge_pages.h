// Transparent huge pages: for the arenas, and nowhere else.
#pragma once

namespace terrace::cli {

/// Where the system gives huge pages to everybody ("always"), heap and stacks would take 2 MiB where they need some
/// KiB, all of it counted against the budget: from here on this process gets none but for its arenas (run/memory.h).
void refuse_huge_pages();

/// What the system's setting costs, as a line for the user; empty if nothing.
const char* huge_pages_lost();

}  // namespace terrace::cli
