// flash_attention of bf16 and its gradient, in pairs.
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/avx512/turn.h"
#include "terrace/kernels/cpu/avx512_bf16/pairs.h"
// The bodies need the vectors.
#include "terrace/kernels/cpu/body/flash_bf16_backward.h"
#include "terrace/kernels/cpu/body/flash_bf16_forward.h"

namespace terrace::TERRACE_AVX512_BF16 {

void flash_attention_bf16(const KernelArgs& a) { flash_attention_bf16_body<Pairs>(a); }
void flash_attention_grad_bf16(const KernelArgs& a) { flash_attention_grad_bf16_body<Pairs>(a); }

}  // namespace terrace::TERRACE_AVX512_BF16
