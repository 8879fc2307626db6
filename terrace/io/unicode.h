// The few classes of characters that splitters of text distinguish.
#pragma once

#include <cstdint>

#include "terrace/core/utf8.h"

namespace terrace::io {

enum class CharClass : std::uint8_t { other, letter, number, space };

/// General category L, N, or the property White_Space; everything else, also what is no character, is `other`.
CharClass class_of(char32_t c);

}  // namespace terrace::io
