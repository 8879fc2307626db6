#include "terrace/kernels/cpu/avx512/vec.h"
#include "terrace/kernels/cpu/kernels.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/attention.h"

namespace terrace::TERRACE_AVX512 {

void attention_f16(const KernelArgs& a) { attention_body<HalfCache>(a); }
void attention_f32(const KernelArgs& a) { attention_body<FloatCache>(a); }
void attention_q8_0(const KernelArgs& a) { attention_body<ByteCache>(a); }

}  // namespace terrace::TERRACE_AVX512
