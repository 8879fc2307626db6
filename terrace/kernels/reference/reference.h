// The oracle's kernels, one for each op of ops.h. Worker 0 does everything; sums are in double.
#pragma once

#include "terrace/kernels/kernel.h"

namespace terrace::reference {

void take_rows(const KernelArgs& a);
void last_rows(const KernelArgs& a);
void dequantize(const KernelArgs& a);
void quantize(const KernelArgs& a);
void append_rows(const KernelArgs& a);
void rms_norm(const KernelArgs& a);
void softmax(const KernelArgs& a);
void linear(const KernelArgs& a);
void add(const KernelArgs& a);
void mul(const KernelArgs& a);
void silu(const KernelArgs& a);
void silu_mul(const KernelArgs& a);
void rope_angles(const KernelArgs& a);
void rope(const KernelArgs& a);
void attention(const KernelArgs& a);

}  // namespace terrace::reference
