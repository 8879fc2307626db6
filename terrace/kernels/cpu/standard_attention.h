// Attention as it is done without a fused kernel, the scores written out whole: to compare flash attention with. Plain
// loops in tiles, so that it moves its minimum: eleven passes over the scores, and the operands about once a pass.
#pragma once

#include "terrace/kernels/kernel.h"

namespace terrace {

class AttentionLedger;

/// Operands and attributes are flash_attention's and flash_attention_grad's; lse is not written, o and lse are not
/// read, no scratch is used, worker 0 does everything. Matrices are f32 [B, h, N, M], 64-byte aligned so that tiles
/// share no line: `scores` and `other` are written, `weights` is what the forward pass leaves for the backward one.
void standard_attention(const KernelArgs& a, float* scores, float* weights, AttentionLedger& ledger);
void standard_attention_grad(const KernelArgs& a, const float* weights, float* scores, float* other,
                             AttentionLedger& ledger);

}  // namespace terrace
