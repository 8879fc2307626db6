// What the fuzz targets do with a machine file.
#pragma once

#include <string_view>

namespace terrace::fuzz {

/// Reads `text` as a machine file, and again what is written of it. Ends the program if it is neither refused as a bad
/// file nor sound, or if it takes more memory than docs/security.md allows.
void use_machine(std::string_view text);

}  // namespace terrace::fuzz
