// What the fuzz targets do with a safetensors file: everything that can be asked of it, and of it as a checkpoint.
#pragma once

#include <cstddef>
#include <span>

namespace terrace::fuzz {

/// Reads `bytes` as a safetensors file and asks everything of it. Ends the program if it is neither refused as a bad
/// file nor sound, or if it takes more memory than docs/security.md allows.
void use_safetensors(std::span<const std::byte> bytes);

}  // namespace terrace::fuzz
