// Any text as a machine file: an Error, or a machine whose text reads back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "terrace/core/error.h"
#include "terrace/machine/toml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace terrace;
  std::string written;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    written = machine::to_toml(machine::parse(text, "fuzz"));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_file) std::abort();
    return 0;
  }
  machine::parse(written, "what to_toml wrote");  // an Error here is a defect, and ends the program
  return 0;
}
