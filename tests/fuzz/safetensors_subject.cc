#include "fuzz/safetensors_subject.h"

#include <cstdlib>
#include <vector>

#include "fuzz/live_bytes.h"
#include "support/memory_file.h"
#include "terrace/core/error.h"
#include "terrace/io/checkpoint.h"

namespace terrace::fuzz {
namespace {

// What does not depend on the file: the window that it is read through, the buffer of `verify`, names and messages.
constexpr std::size_t kFixed = (64 << 10) + (64 << 10) + (32 << 10);

void must(bool holds) {
  if (!holds) std::abort();
}

void walk(const io::SafeTensorsFile& f) {
  u64 at = f.data_offset();
  for (const io::SafeTensor& t : f.tensors()) {
    must(t.offset == at && t.bytes == t.spec.bytes({}).count && f.find(t.name) == &t);
    at += t.bytes;
    std::byte last{};
    if (t.bytes > 0) f.read(t, t.bytes - 1, {&last, 1});
  }
  must(at == f.size());
  f.each_metadata([&](std::string_view key, std::string_view value) { must(f.metadata(key) == value); });
}

}  // namespace

void use_safetensors(std::span<const std::byte> bytes) {
  const test::MemoryFile file(bytes);
  for (const bool checkpoint : {false, true}) {
    try {
      const LiveBytesLimit limit(4 * bytes.size() + kFixed);
      if (checkpoint)
        io::Checkpoint(file.path()).verify();
      else
        walk(io::SafeTensorsFile(file.path()));
    } catch (const Error& e) { must(e.kind() == ErrorKind::bad_file && !e.message().empty() && !e.where().empty()); }
  }
}

}  // namespace terrace::fuzz
