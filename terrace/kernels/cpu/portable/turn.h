// Squares of floats turned round. turn.h of each instruction set has the same names.
#pragma once

#include "terrace/core/units.h"

namespace terrace {
namespace {

inline constexpr i64 kSquare = 4;

/// to[stride c + r] = rows[r][column + c], r and c < kSquare.
inline void turn(const float* const* rows, i64 column, float* to, i64 stride) {
  for (i64 c = 0; c < kSquare; ++c)
    for (i64 r = 0; r < kSquare; ++r) to[stride * c + r] = rows[r][column + c];
}

}  // namespace
}  // namespace terrace
