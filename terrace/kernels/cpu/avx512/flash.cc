// flash_attention and its gradient.
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/avx512/turn.h"
#include "terrace/kernels/cpu/avx512/vec.h"
// The bodies need the vectors.
#include "terrace/kernels/cpu/body/flash_backward.h"
#include "terrace/kernels/cpu/body/flash_bf16_backward.h"
#include "terrace/kernels/cpu/body/flash_bf16_forward.h"
#include "terrace/kernels/cpu/body/flash_forward.h"

namespace terrace::TERRACE_AVX512 {

TERRACE_FLASH_KERNELS(TERRACE_DEFINE)
void flash_attention_bf16(const KernelArgs& a) { flash_attention_bf16_body<SingleSlots>(a); }
void flash_attention_grad_bf16(const KernelArgs& a) { flash_attention_grad_bf16_body<SingleSlots>(a); }

}  // namespace terrace::TERRACE_AVX512
