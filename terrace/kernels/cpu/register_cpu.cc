// Names and formats of the CPU kernels, and which of them each instruction set has.
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/kernels.h"
#include "terrace/kernels/cpu/linear.h"
#include "terrace/kernels/cpu/matmul.h"
#include "terrace/kernels/cpu/matmul_weights.h"
#include "terrace/kernels/cpu/training.h"

namespace terrace {
namespace {

constexpr Format kF32{DType::f32, Layout::dense};
constexpr Format kF16{DType::f16, Layout::dense};
constexpr Format kQ8{DType::f32, Layout::q8_0};
constexpr Format kQ8a{DType::f32, Layout::q8a};

void add(KernelTable& table, std::string op, const char* tag, std::vector<Format> formats, Isa isa, KernelFn fn) {
  std::string name = op;
  name.append(tag).append(1, '.').append(name_of(isa));
  table.add({std::move(op), std::move(formats), isa, fn, std::move(name)});
}

}  // namespace

void register_cpu_kernels(KernelTable& table, Isa isa, const KernelFn (&fns)[kCpuKernels]) {
  const KernelFn* fn = fns;
  add(table, "quantize", "", {kF32, kQ8a}, isa, *fn++);
  add(table, "rms_norm", "", {kF32, kF32, kF32}, isa, *fn++);
  add(table, "softmax", "", {kF32, kF32}, isa, *fn++);
  add(table, "add", "", {kF32, kF32, kF32}, isa, *fn++);
  add(table, "mul", "", {kF32, kF32, kF32}, isa, *fn++);
  add(table, "silu", "", {kF32, kF32}, isa, *fn++);
  add(table, "silu_mul", "", {kF32, kF32, kF32}, isa, *fn++);
  add(table, "rope", "", {kF32, kF32, kF32}, isa, *fn++);
  add(table, "append_rows", ".f16", {kF16, kF32, kF16}, isa, *fn++);
  add(table, "append_rows", ".q8_0", {kQ8, kF32, kQ8}, isa, *fn++);
  add(table, "attention", ".f16", {kF32, kF16, kF16, kF32}, isa, *fn++);
  add(table, "attention", ".f32", {kF32, kF32, kF32, kF32}, isa, *fn++);
  add(table, "attention", ".q8_0", {kF32, kQ8, kQ8, kF32}, isa, *fn++);
}

#define TERRACE_LIST(isa)                                                                                        \
  {                                                                                                              \
    isa::quantize, isa::rms_norm, isa::softmax, isa::add, isa::mul, isa::silu, isa::silu_mul, isa::rope,         \
        isa::append_rows_f16, isa::append_rows_q8_0, isa::attention_f16, isa::attention_f32, isa::attention_q8_0 \
  }

namespace {
void add_portable(KernelTable& table) {
  register_cpu_kernels(table, Isa::portable, TERRACE_LIST(portable));
  add(table, "append_rows", ".f32", {kF32, kF32, kF32}, Isa::portable, portable::append_rows_f32);
  add(table, "take_rows", "", {}, Isa::portable, portable::take_rows);
  add(table, "last_rows", "", {}, Isa::portable, portable::last_rows);
  add(table, "dequantize", "", {}, Isa::portable, portable::dequantize);
  add(table, "rope_angles", "", {}, Isa::portable, portable::rope_angles);
  register_linear_portable(table);
}
}  // namespace

void register_portable(KernelTable& table) {
  add_portable(table);
  add(table, "positions", "", {}, Isa::portable, portable::positions);
  register_flash_portable(table);
  register_matmul_portable(table);
  register_matmul_weights_portable(table);
  register_training_portable(table);
}

#if defined(__x86_64__)
void register_inference(KernelTable& table, Isa isa) {
  if (isa == Isa::portable) add_portable(table);
  if (isa == Isa::avx2) {
    register_cpu_kernels(table, Isa::avx2, TERRACE_LIST(avx2));
    register_linear_avx2(table);
  }
  if (isa == Isa::avx512) {
    register_cpu_kernels(table, Isa::avx512, TERRACE_LIST(avx512));
    register_linear_avx512(table);
  }
}
void register_avx2(KernelTable& table) {
  register_inference(table, Isa::avx2);
  register_flash_avx2(table);
  register_matmul_avx2(table);
  register_matmul_weights_avx2(table);
  register_training_avx2(table);
}
void register_avx512(KernelTable& table) {
  register_inference(table, Isa::avx512);
  register_flash_avx512(table);
  register_matmul_avx512(table);
  register_matmul_weights_avx512(table);
  register_training_avx512(table);
}
void register_avx512_bf16(KernelTable& table) {
  register_flash_avx512_bf16(table);
  register_matmul_avx512_bf16(table);
}
#else
void register_inference(KernelTable& table, Isa isa) {
  if (isa == Isa::portable) add_portable(table);
}
void register_avx2(KernelTable&) {}
void register_avx512(KernelTable&) {}
void register_avx512_bf16(KernelTable&) {}
#endif

}  // namespace terrace
