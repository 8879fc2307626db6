#include "terrace/kernels/cpu/kernels.h"
#include "terrace/kernels/cpu/portable/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/attention.h"

namespace terrace::portable {

void attention_f16(const KernelArgs& a) { attention_body<HalfCache>(a); }
void attention_f32(const KernelArgs& a) { attention_body<FloatCache>(a); }
void attention_q8_0(const KernelArgs& a) { attention_body<ByteCache>(a); }

}  // namespace terrace::portable
