// Registration of matmul: built for any processor.
#include "terrace/kernels/cpu/matmul.h"

namespace terrace {

void register_matmul_portable(KernelTable& table) {
  add_kernels(table, Isa::portable, portable::kMatmul, kMatmulKernels, true);
}
#if defined(__x86_64__)
void register_matmul_avx2(KernelTable& table) { add_kernels(table, Isa::avx2, avx2::kMatmul, kMatmulKernels, true); }
void register_matmul_avx512(KernelTable& table) {
  add_kernels(table, Isa::avx512, avx512::kMatmul, kMatmulKernels, true);
}
void register_matmul_avx512_bf16(KernelTable& table) {
  add_kernels(table, Isa::avx512_bf16, avx512_bf16::kMatmul, kMatmulBf16Kernels, true);
}
#else
void register_matmul_avx2(KernelTable&) {}
void register_matmul_avx512(KernelTable&) {}
void register_matmul_avx512_bf16(KernelTable&) {}
#endif

}  // namespace terrace
