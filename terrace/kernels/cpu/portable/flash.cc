// flash_attention and its gradient, and the same with a ledger.
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/portable/turn.h"
#include "terrace/kernels/cpu/portable/vec.h"
// The bodies need the vectors.
#include "terrace/kernels/cpu/body/flash_backward.h"
#include "terrace/kernels/cpu/body/flash_bf16_backward.h"
#include "terrace/kernels/cpu/body/flash_bf16_forward.h"
#include "terrace/kernels/cpu/body/flash_forward.h"

namespace terrace::portable {

TERRACE_FLASH_KERNELS(TERRACE_DEFINE)
void flash_attention_bf16(const KernelArgs& a) { flash_attention_bf16_body<SingleSlots>(a); }
void flash_attention_grad_bf16(const KernelArgs& a) { flash_attention_grad_bf16_body<SingleSlots>(a); }
void flash_attention_counted(const KernelArgs& a, AttentionLedger& ledger) { flash_attention_run(a, ledger); }
void flash_attention_grad_counted(const KernelArgs& a, AttentionLedger& ledger) { flash_attention_grad_run(a, ledger); }

}  // namespace terrace::portable
