// What the fuzz targets do with a GGUF file: everything that can be asked of it and of its tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace terrace::fuzz {

/// Reads `bytes` as a GGUF file and asks everything of it, encodes `text`. Ends the program if it is neither refused as
/// a bad file nor sound, or if it takes more memory than docs/security.md allows.
void use_gguf(std::span<const std::byte> bytes, std::string_view text);

}  // namespace terrace::fuzz
