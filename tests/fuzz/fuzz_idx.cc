// Any bytes as an IDX file, plain or packed: an Error, or items that can be read, in memory of a fixed size.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "fuzz/live_bytes.h"
#include "support/memory_file.h"
#include "terrace/core/error.h"
#include "terrace/io/idx.h"

using namespace terrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const test::MemoryFile file(std::as_bytes(std::span(data, size)));
  try {
    // The window, zlib's state and window, its input, and messages.
    const fuzz::LiveBytesLimit limit((64 << 10) + (48 << 10) + (16 << 10) + (16 << 10));
    io::IdxFile f(file.path());
    if (f.item_bytes() > 4096 || f.items() > 100000) return 0;
    std::vector<std::byte> item(f.item_bytes());
    for (u64 i = 0; i < f.items(); ++i) f.read(i, item);
    f.read(0, item);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_file || e.message().empty() || e.where().empty()) std::abort();
  }
  return 0;
}
