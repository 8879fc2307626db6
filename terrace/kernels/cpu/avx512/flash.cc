// flash_attention and its gradient.
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/avx512/vec.h"
// The bodies need the vectors.
#include "terrace/kernels/cpu/body/flash_backward.h"
#include "terrace/kernels/cpu/body/flash_forward.h"

namespace terrace::TERRACE_AVX512 {

TERRACE_FLASH_KERNELS(TERRACE_DEFINE)

}  // namespace terrace::TERRACE_AVX512
