#include <algorithm>

#include "terrace/kernels/kernel.h"

namespace terrace {
namespace {
constexpr std::string_view kIsas[] = {"reference", "portable", "avx2", "avx512", "avx512bf16"};
}  // namespace

std::string_view name_of(Isa isa) { return kIsas[static_cast<int>(isa)]; }

bool parse(std::string_view text, Isa& out) {
  for (int i = 0; i < 5; ++i)
    if (kIsas[i] == text) return out = static_cast<Isa>(i), true;
  return false;
}

Isa best_isa() {
#if defined(__x86_64__)
  // These ask the operating system too (XCR0), so registers that it does not save are not offered.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2 && avx512) return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::portable;
}

void KernelTable::add(Kernel k) { kernels_.push_back(std::move(k)); }

const Kernel* KernelTable::find(std::string_view op, const std::vector<Format>& formats, Isa isa) const {
  const Kernel* best = nullptr;
  for (const Kernel& k : kernels_) {
    if (k.op != op || k.isa > isa) continue;
    if ((k.isa == Isa::reference) != (isa == Isa::reference)) continue;
    if (!k.formats.empty() && k.formats != formats) continue;
    // Equal instruction sets: a kernel made for these formats beats one for any.
    if (!best || k.isa > best->isa || (k.isa == best->isa && best->formats.empty())) best = &k;
  }
  return best;
}

const Kernel* KernelTable::find_by_name(std::string_view name) const {
  const auto it = std::ranges::find(kernels_, name, &Kernel::name);
  return it == kernels_.end() ? nullptr : &*it;
}

KernelTable cpu_kernels(Isa isa) {
  KernelTable table;
  register_reference(table);
  const Isa top = std::min(isa, best_isa());
  if (top >= Isa::portable) register_portable(table);
  if (top >= Isa::avx2) register_avx2(table);
  if (top >= Isa::avx512) register_avx512(table);
  if (top >= Isa::avx512_bf16) register_avx512_bf16(table);
  return table;
}

KernelTable inference_kernels(Isa isa) {
  KernelTable table;
  const Isa top = std::min(isa, best_isa());
  register_reference_inference(table);
  for (const Isa i : {Isa::portable, Isa::avx2, Isa::avx512})
    if (top >= i) register_inference(table, i);
  return table;
}

}  // namespace terrace
