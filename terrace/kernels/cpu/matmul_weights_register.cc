// Registration of matmul with weights: built for any processor.
#include <string>

#include "terrace/kernels/cpu/matmul_weights.h"

namespace terrace {
namespace {

constexpr Format kF32{DType::f32, Layout::dense};

struct Entry {
  Format weight;
  const char* name;
  KernelFn fn;
};

void add_all(KernelTable& table, Isa isa, std::initializer_list<Entry> entries) {
  for (const Entry& e : entries) {
    std::string name = "matmul.f32.";
    name.append(e.name).append(".").append(name_of(isa));
    table.add(Kernel{"matmul", {kF32, e.weight, kF32}, isa, e.fn, std::move(name)});
  }
}

constexpr Format kF16{DType::f16, Layout::dense};
constexpr Format blocks(Layout layout) { return {DType::f32, layout}; }

}  // namespace

#define TERRACE_MATMUL_WEIGHT_ENTRIES(ns)                                                                 \
  {                                                                                                       \
    {kF16, "f16", ns::matmul_f16}, {blocks(Layout::q8_0), "q8_0", ns::matmul_q8_0},                       \
        {blocks(Layout::q4_0), "q4_0", ns::matmul_q4_0}, {blocks(Layout::q4_1), "q4_1", ns::matmul_q4_1}, \
  }

void register_matmul_weights_portable(KernelTable& table) {
  add_all(table, Isa::portable, TERRACE_MATMUL_WEIGHT_ENTRIES(portable));
}
#if defined(__x86_64__)
void register_matmul_weights_avx2(KernelTable& table) {
  add_all(table, Isa::avx2, TERRACE_MATMUL_WEIGHT_ENTRIES(avx2));
}
void register_matmul_weights_avx512(KernelTable& table) {
  add_all(table, Isa::avx512, TERRACE_MATMUL_WEIGHT_ENTRIES(avx512));
}
#else
void register_matmul_weights_avx2(KernelTable&) {}
void register_matmul_weights_avx512(KernelTable&) {}
#endif

}  // namespace terrace
