// attention_once none|forward|backward HEADS LENGTH: the AVX2 kernel of flash attention, once, for
// scripts/try_cachegrind.sh. "none" sets up the same operands, and runs nothing.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "terrace/kernels/cpu/flash.h"

namespace {

using namespace terrace;

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Floats = std::unique_ptr<float, Free>;

Floats floats(i64 n) {
  Floats p(static_cast<float*>(std::aligned_alloc(4096, round_up(static_cast<u64>(4 * n), 4096))));
  for (i64 i = 0; i < n; ++i) p.get()[i] = static_cast<float>(i * 2654435761 % 1000) / 1000 - 0.5f;
  return p;
}

TensorView view(const Floats& p, i64 rows, i64 columns) {
  TensorView v;
  v.data = reinterpret_cast<std::byte*>(p.get());
  v.rank = 3;
  const i64 dims[] = {1, rows, columns}, strides[] = {4 * rows * columns, 4 * columns, 4};
  std::copy_n(dims, 3, v.dim);
  std::copy_n(strides, 3, v.stride);
  return v;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string_view what = argv[1];
  const i64 heads = std::atoll(argv[2]), n = std::atoll(argv[3]), head = 64, wide = heads * head;
  if (heads < 1 || n < 1) return 2;
  Floats p[9];
  TensorView v[9];  // q k v o lse do dq dk dv
  for (int i = 0; i < 9; ++i) {
    p[i] = floats(i == 4 ? heads * n : n * wide);
    v[i] = i == 4 ? view(p[i], heads, n) : view(p[i], n, wide);
  }
  const u64 room = std::max(flash_scratch(head, n, n), flash_grad_scratch(head, n));
  const Floats scratch = floats(static_cast<i64>(room / 4));
  const i64 ints[] = {heads, heads, 0, 0};
  const double numbers[] = {1 / std::sqrt(static_cast<double>(head)), 0, 0, 0};
  const bool forward = what == "forward";
  KernelArgs a;
  const TensorView of_forward[] = {v[0], v[1], v[2]}, of_backward[] = {v[0], v[1], v[2], v[3], v[4], v[5]};
  a.in = forward ? of_forward : of_backward;
  a.out = forward ? v + 3 : v + 6;
  a.ints = ints;
  a.floats = numbers;
  a.scratch = reinterpret_cast<std::byte*>(scratch.get());
  a.scratch_bytes = room;
  a.core_cache_bytes = 1 << 20;
  if (forward) avx2::flash_attention(a);
  if (what == "backward") avx2::flash_attention_grad(a);
  return 0;
}
