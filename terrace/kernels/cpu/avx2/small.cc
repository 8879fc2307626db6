// add, mul, silu, silu_mul, rope, rms_norm, softmax, quantize, append_rows.
#include "terrace/kernels/cpu/avx2/vec.h"
#include "terrace/kernels/cpu/kernels.h"
// The bodies need the vectors.
#include "terrace/kernels/cpu/body/elementwise.h"
#include "terrace/kernels/cpu/body/norm.h"
#include "terrace/kernels/cpu/body/quantize.h"

namespace terrace::avx2 {

void quantize(const KernelArgs& a) { quantize_body(a); }
void rms_norm(const KernelArgs& a) { rms_norm_body(a); }
void softmax(const KernelArgs& a) { softmax_body(a); }
void add(const KernelArgs& a) { add_body(a); }
void mul(const KernelArgs& a) { mul_body(a); }
void silu(const KernelArgs& a) { silu_body(a); }
void silu_mul(const KernelArgs& a) { silu_mul_body(a); }
void rope(const KernelArgs& a) { rope_body(a); }
void append_rows_f16(const KernelArgs& a) { append_rows_f16_body(a); }
void append_rows_q8_0(const KernelArgs& a) { append_rows_q8_0_body(a); }

}  // namespace terrace::avx2
