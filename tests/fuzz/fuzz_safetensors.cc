// Any bytes as a safetensors file: an Error, or a file whose parts can be read, nothing else.
#include <cstdint>

#include "fuzz/safetensors_subject.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  terrace::fuzz::use_safetensors(std::as_bytes(std::span(data, size)));
  return 0;
}
