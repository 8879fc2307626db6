// Registration of flash attention's kernels: built for any processor, whatever the kernels are built for.
#include <iterator>

#include "terrace/kernels/cpu/flash.h"

namespace terrace {

void register_flash_portable(KernelTable& table) {
  using namespace portable;
  static constexpr ListedKernel list[] = {TERRACE_FLASH_KERNELS(TERRACE_ROW) TERRACE_FLASH_BF16_KERNELS(TERRACE_ROW)};
  add_kernels(table, Isa::portable, list, static_cast<int>(std::size(list)));
}
#if defined(__x86_64__)
void register_flash_avx2(KernelTable& table) {
  using namespace avx2;
  static constexpr ListedKernel list[] = {TERRACE_FLASH_KERNELS(TERRACE_ROW) TERRACE_FLASH_BF16_KERNELS(TERRACE_ROW)};
  add_kernels(table, Isa::avx2, list, static_cast<int>(std::size(list)));
}
void register_flash_avx512(KernelTable& table) {
  using namespace avx512;
  static constexpr ListedKernel list[] = {TERRACE_FLASH_KERNELS(TERRACE_ROW) TERRACE_FLASH_BF16_KERNELS(TERRACE_ROW)};
  add_kernels(table, Isa::avx512, list, static_cast<int>(std::size(list)));
}
void register_flash_avx512_bf16(KernelTable& table) {
  using namespace avx512_bf16;
  static constexpr ListedKernel list[] = {TERRACE_FLASH_BF16_KERNELS(TERRACE_ROW)};
  add_kernels(table, Isa::avx512_bf16, list, static_cast<int>(std::size(list)));
}
#else
void register_flash_avx2(KernelTable&) {}
void register_flash_avx512(KernelTable&) {}
void register_flash_avx512_bf16(KernelTable&) {}
#endif

}  // namespace terrace
