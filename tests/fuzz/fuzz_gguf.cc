// Any bytes as a GGUF file: an Error, or a file whose parts can be read, nothing else.
#include <cstdint>
#include <span>

#include "fuzz/gguf_subject.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  terrace::fuzz::use_gguf(std::as_bytes(std::span(data, size)), "Hello 12 <|im_start|>w\xC3\xB6rld\xFF  \n");
  return 0;
}
