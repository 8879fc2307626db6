// Registration of the matrix kernels: built for any processor, whatever the kernels are built for.
#include <string>

#include "terrace/kernels/cpu/linear.h"

namespace terrace {
namespace {

constexpr Format kF32{DType::f32, Layout::dense};
constexpr Format kQ8a{DType::f32, Layout::q8a};
constexpr Format kF16{DType::f16, Layout::dense};

struct Entry {
  Format x, w;
  const char* formats;
  KernelFn fn;
};

void add_all(KernelTable& table, Isa isa, std::initializer_list<Entry> entries) {
  for (const Entry& e : entries) {
    std::string name = "linear.";
    name.append(e.formats).append(".").append(name_of(isa));
    table.add(Kernel{"linear", {e.x, e.w, kF32}, isa, e.fn, std::move(name)});
  }
}

constexpr Format blocks(Layout layout) { return {DType::f32, layout}; }

}  // namespace

// One line a kernel; the functions of an instruction set have the same names in its namespace.
#define TERRACE_LINEAR_ENTRIES(ns)                                                                                  \
  {                                                                                                                 \
    {kQ8a, blocks(Layout::q8_0), "q8a.q8_0", ns::linear_q8a_q8_0},                                                  \
        {kQ8a, blocks(Layout::q4_0), "q8a.q4_0", ns::linear_q8a_q4_0},                                              \
        {kQ8a, blocks(Layout::q4_1), "q8a.q4_1", ns::linear_q8a_q4_1}, {kF32, kF32, "f32.f32", ns::linear_f32_f32}, \
        {kF32, kF16, "f32.f16", ns::linear_f32_f16}, {kF32, blocks(Layout::q8_0), "f32.q8_0", ns::linear_f32_q8_0}, \
        {kF32, blocks(Layout::q4_0), "f32.q4_0", ns::linear_f32_q4_0},                                              \
        {kF32, blocks(Layout::q4_1), "f32.q4_1", ns::linear_f32_q4_1},                                              \
  }

void register_linear_portable(KernelTable& table) { add_all(table, Isa::portable, TERRACE_LINEAR_ENTRIES(portable)); }
#if defined(__x86_64__)
void register_linear_avx2(KernelTable& table) { add_all(table, Isa::avx2, TERRACE_LINEAR_ENTRIES(avx2)); }
void register_linear_avx512(KernelTable& table) { add_all(table, Isa::avx512, TERRACE_LINEAR_ENTRIES(avx512)); }
#else
void register_linear_avx2(KernelTable&) {}
void register_linear_avx512(KernelTable&) {}
#endif

}  // namespace terrace
