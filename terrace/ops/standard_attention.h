// What attention takes besides products of matrices where its scores are written to memory: the yardstick of
// flash_attention.
#pragma once

#include "terrace/graph/op_def.h"

namespace terrace::ops {

/// split_heads(x [B, T, h d]) -> [B, h, T, d], ints[0] = h; merge_heads(x [B, h, T, d]) -> [B, T, h d].
extern const OpDef split_heads;
extern const OpDef merge_heads;
/// causal_softmax(x [.., n, m]) -> softmax over the columns 0 .. i + m - n of row i, zero beyond; a row that sees
/// nothing is zero.
extern const OpDef causal_softmax;

}  // namespace terrace::ops
