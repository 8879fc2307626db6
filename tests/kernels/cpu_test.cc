// Every kernel that this processor can run, other than `linear`.
#include "kernels/cpu_check_ops.h"

namespace terrace {
namespace {

using namespace cpu_check;

const KernelTable& table() {
  static const KernelTable t = cpu_kernels(best_isa());
  return t;
}

TEST(CpuKernels, Elementwise) { expect_elementwise(table()); }
TEST(CpuKernels, Norms) { expect_norms(table()); }
TEST(CpuKernels, Rope) { expect_rope(table()); }
TEST(CpuKernels, Quantize) { expect_quantize(table()); }
TEST(CpuKernels, Append) { expect_append(table()); }
TEST(CpuKernels, Attention) { expect_attention(table()); }

constexpr Format kAll[] = {kF32, kF16, kQ8, {DType::f32, Layout::q4_0}, {DType::f32, Layout::q4_1}, kQ8a};

TEST(CpuKernels, TakeRows) {
  std::mt19937 rng(7);
  expect_kernels(table(), "take_rows", [&](const Kernel&, auto check) {
    for (const Format f : kAll)
      for (const i64 n : kCounts) {
        Case c{{random_tensor(f, 11, 64, rng, 1, 8), Tensor(kI32, n, 1)}, Tensor(f, n, 64, 4)};
        c.in[0].by_row = false;
        for (i64 i = 0; i < n; ++i) {
          const auto id = static_cast<i32>((i * 7 + 10) % 11);
          std::memcpy(c.in[1].row(i), &id, 4);
        }
        check(std::move(c));
      }
  });
}

TEST(CpuKernels, Dequantize) {
  std::mt19937 rng(8);
  expect_kernels(table(), "dequantize", [&](const Kernel&, auto check) {
    for (const Format f : kAll)
      for (const i64 n : kCounts) {
        Case c{{random_tensor(f, n, 96, rng, 1, 8)}, Tensor(kF32, n, 96, 4)};
        c.tolerance = 1e-6;
        check(std::move(c));
      }
  });
}

TEST(CpuKernels, RopeAngles) {
  expect_kernels(table(), "rope_angles", [&](const Kernel&, auto check) {
    for (const i64 n : kCounts) {
      Case c{{Tensor(kF32, n, 3)}, Tensor(kF32, n, 64, 4)};
      c.ints[0] = 64;
      c.floats[0] = 10000;
      c.pos = 2000;
      check(std::move(c));  // the very bytes
    }
  });
}

TEST(CpuKernels, LastRows) {
  std::mt19937 rng(9);
  for (const Format f : kAll) {
    Tensor x = random_tensor(f, 5, 64, rng, 1, 8), y(f, 1, 64);
    const TensorView in = x.view(), out = y.view();
    KernelArgs a;
    a.in = &in;
    a.out = &out;
    table().find("last_rows", {f, f}, Isa::avx512)->fn(a);
    EXPECT_EQ(std::memcmp(y.row(0), x.row(4), static_cast<std::size_t>(y.packed)), 0);
  }
}

}  // namespace
}  // namespace terrace
