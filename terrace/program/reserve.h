// What the process needs besides the plan's arenas, and what memory there is.
#pragma once

#include <optional>
#include <vector>

#include "terrace/plan/plan.h"

namespace terrace {

/// Bytes known at this point that the process will hold besides arenas.
struct ProcessNeeds {
  Bytes tokenizer;  ///< 0: none
  Bytes header;     ///< file metadata kept
  Bytes graph;
  Bytes data;    ///< that is trained on
  Bytes others;  ///< in the same process: other models, the caller's own
  int threads = 1;
  i64 logits = 0;  ///< elements of the logits copied for sampling
};

inline constexpr const char *kBinaryReserve = "binary", *kOthersReserve = "others in the process";

/// Rows for binary and libraries, stacks, kernel memory of threads and io_uring, heap, tokenizer, metadata and the plan
/// itself. Each row says how its figure was got (a measured constant, or the file's size).
std::vector<Reserve> process_reserves(TierId memory, const ProcessNeeds& needs);

/// The enclosing memory limit of this process (cgroup v1 or v2, smallest of all ancestors); none if unlimited.
std::optional<Bytes> enclosing_limit();
/// Free memory by the kernel's estimate (MemAvailable).
Bytes available_memory();
/// The budget when none is given: nine tenths of the smaller of the two.
Bytes default_budget();

}  // namespace terrace
