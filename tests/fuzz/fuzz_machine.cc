// Any text as a machine file: an Error, or a machine whose text reads back.
#include <cstdint>

#include "fuzz/machine_subject.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  terrace::fuzz::use_machine({reinterpret_cast<const char*>(data), size});
  return 0;
}
