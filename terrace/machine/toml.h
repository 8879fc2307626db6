// Machine files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "terrace/machine/machine.h"

namespace terrace::machine {

/// Parses a machine file. Unknown keys, missing sources, bad numbers: Error(bad_file) with file, line and key.
/// `origin` names the text in messages.
Machine parse(std::string_view toml, std::string_view origin);

/// A file's path, or the name of a machine shipped under one of `search` folders ("NAME.toml").
Machine load(const std::string& name_or_path, const std::vector<std::filesystem::path>& search = {});

/// The text that parse reads back to the same machine.
std::string to_toml(const Machine& m);

}  // namespace terrace::machine
