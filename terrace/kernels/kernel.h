// What a kernel is: a function of views, a worker index and the number of workers. It never allocates.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/tensor.h"

namespace terrace {

/// Everything a kernel is given. All workers of a step get the same arguments but `worker`, and split the work
/// among themselves along parallel axes; bits of the result never depend on `workers`.
struct KernelArgs {
  const TensorView* in = nullptr;
  const TensorView* out = nullptr;
  const i64* ints = nullptr;       ///< Attrs::ints
  const double* floats = nullptr;  ///< Attrs::floats
  i64 sym[2] = {0, 0};             ///< actual values of Attrs::symbols
  std::byte* scratch = nullptr;    ///< 64-byte aligned, shared by all workers of the step
  u64 scratch_bytes = 0;
  int worker = 0;
  int workers = 1;
  u64 core_cache_bytes = 0;  ///< of the largest cache that a core has to itself, for tile sizes; 0: unknown
};
using KernelFn = void (*)(const KernelArgs&);

/// Instruction sets, worst to best. `reference` is the oracle's, never chosen for speed.
/// avx512_bf16 is AVX-512 whose processor multiplies bf16.
enum class Isa : std::uint8_t { reference, portable, avx2, avx512, avx512_bf16 };
std::string_view name_of(Isa isa);
bool parse(std::string_view text, Isa& out);
/// The best that this processor and its operating system support.
Isa best_isa();

struct Format {
  DType dtype = DType::f32;
  Layout layout = Layout::dense;
  bool operator==(const Format&) const = default;
};

struct Kernel {
  std::string op;               ///< OpDef::name
  std::vector<Format> formats;  ///< of inputs, then outputs; empty: any
  Isa isa = Isa::reference;
  KernelFn fn = nullptr;
  /// "linear.q8a.q4_1.avx2": op, the formats that distinguish it, isa. Machine files name rates by it.
  std::string name;
};

/// Filled by explicit register_* calls; there is no static registration.
class KernelTable {
 public:
  void add(Kernel k);
  /// The best kernel not above `isa` for these formats; null if there is none (the reference is not considered
  /// unless `isa` is Isa::reference).
  const Kernel* find(std::string_view op, const std::vector<Format>& formats, Isa isa) const;
  const Kernel* find_by_name(std::string_view name) const;
  const std::vector<Kernel>& all() const { return kernels_; }

 private:
  std::vector<Kernel> kernels_;
};

void register_reference(KernelTable& table);
/// Of the ops that inference has.
void register_reference_inference(KernelTable& table);
void register_inference(KernelTable& table, Isa isa);
void register_portable(KernelTable& table);
void register_avx2(KernelTable& table);
void register_avx512(KernelTable& table);
void register_avx512_bf16(KernelTable& table);
/// Reference, portable, and what the processor supports up to `isa`.
KernelTable cpu_kernels(Isa isa);
/// Those without the kernels of training: a program that names no others does not carry them, which counts against the
/// budget of what it runs.
KernelTable inference_kernels(Isa isa);
using KernelsFn = KernelTable (*)(Isa);

}  // namespace terrace
