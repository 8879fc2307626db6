// The cases of cpu_check.h for each op.
#pragma once

#include "kernels/cpu_check.h"

namespace terrace::cpu_check {

inline constexpr i64 kWidths[] = {1, 3, 31, 64, 100, 192, 576, 1537};
inline constexpr i64 kCounts[] = {1, 2, 5, 17};

inline void expect_elementwise(const KernelTable& table) {
  std::mt19937 rng(1);
  for (const char* op : {"add", "mul", "silu", "silu_mul"})
    expect_kernels(table, op, [&](const Kernel& k, auto check) {
      for (const i64 n : kCounts)
        for (const i64 width : kWidths) {
          Case c{{random_tensor(kF32, n, width, rng, 5, 8)}, Tensor(kF32, n, width, 12)};
          if (k.formats.size() == 3) c.in.push_back(random_tensor(kF32, n, width, rng, 2));
          c.tolerance = 5e-7;
          check(std::move(c));
        }
      // Far out: exp overflows and underflows; infinities and NaN as in the reference.
      Case c{{Tensor(kF32, 1, 10)}, Tensor(kF32, 1, 10)};
      const float far[10] = {-200, -104, -88.7f, -87, 0, -0.0f, 87, 88.8f, 1e30f, NAN};
      for (i64 i = 0; i < 10; ++i) c.in[0].put(0, i, far[i]);
      if (k.formats.size() == 3) c.in.push_back(random_tensor(kF32, 1, 10, rng));
      c.tolerance = 5e-7;
      check(std::move(c));
    });
}

inline void expect_norms(const KernelTable& table) {
  std::mt19937 rng(2);
  expect_kernels(table, "rms_norm", [&](const Kernel&, auto check) {
    for (const i64 n : kCounts)
      for (const i64 width : kWidths) {
        Case c{{random_tensor(kF32, n, width, rng, 3, 16), random_tensor(kF32, 1, width, rng)},
               Tensor(kF32, n, width, 8)};
        std::memset(c.in[0].row(n - 1), 0, static_cast<std::size_t>(width) * 4);  // a row of zeros stays one
        c.in[1].by_row = false;
        c.floats[0] = 1e-5;
        c.tolerance = 2e-6;
        check(std::move(c));
      }
  });
  expect_kernels(table, "softmax", [&](const Kernel&, auto check) {
    for (const i64 n : kCounts)
      for (const i64 width : kWidths) {
        Case c{{random_tensor(kF32, n, width, rng, 10, 16)}, Tensor(kF32, n, width, 8)};
        std::memset(c.in[0].row(n - 1), 0, static_cast<std::size_t>(width) * 4);
        if (width > 3) c.in[0].put(0, 2, -INFINITY), c.in[0].put(0, 0, -300);
        // A largest element far below zero.
        for (i64 e = 0; e < width; ++e) c.in[0].put(n / 2, e, -200 - static_cast<float>(e % 7));
        c.tolerance = 1e-6;
        check(std::move(c));
      }
  });
}

inline void expect_rope(const KernelTable& table) {
  std::mt19937 rng(3);
  expect_kernels(table, "rope", [&](const Kernel&, auto check) {
    for (const i64 n : kCounts)
      for (const auto& [heads, head, d] :
           {std::array<i64, 3>{9, 64, 64}, {3, 20, 14}, {1, 2, 2}, {2, 80, 32}, {2, 7, 6}}) {
        Case c{{random_tensor(kF32, n, heads * head, rng), random_tensor(kF32, n, d, rng)},
               Tensor(kF32, n, heads * head, 4)};
        c.ints[0] = head;
        c.tolerance = 1e-6;
        check(std::move(c));
      }
  });
}

/// Rows that try the rounding: zeros, ties, subnormals, huge, infinite, NaN.
inline void put_hard_blocks(Tensor& x, i64 row) {
  const float hard[][4] = {{0, -0.0f, 0, 0},       {127, 0.5f, 1.5f, -2.5f},    {1e-40f, -1e-41f, 0, 1e-45f},
                           {3e-37f, 2e-37f, 0, 0}, {3e38f, -3.4e38f, 1, 2},     {INFINITY, 1, -1, 0},
                           {NAN, 1, INFINITY, -5}, {-127, 126.5f, -0.5f, 63.5f}};
  for (i64 b = 0; b * kBlock < x.columns; ++b)
    for (i64 e = 0; e < kBlock; ++e) x.put(row, b * kBlock + e, hard[b % 8][e % 4]);
}

inline void expect_quantize(const KernelTable& table) {
  std::mt19937 rng(4);
  expect_kernels(table, "quantize", [&](const Kernel&, auto check) {
    for (const i64 n : kCounts)
      for (const i64 width : {32, 96, 256, 576, 1536}) {
        Case c{{random_tensor(kF32, n, width, rng, 1, 16)}, Tensor(kQ8a, n, width, 12)};
        put_hard_blocks(c.in[0], n - 1);
        check(std::move(c));
      }
  });
}

inline void expect_append(const KernelTable& table) {
  std::mt19937 rng(5);
  expect_kernels(table, "append_rows", [&](const Kernel& k, auto check) {
    const Format f = k.formats[0];
    for (const i64 n : kCounts)
      for (const i64 width : {32, 96, 192, 33}) {
        if (f == kQ8 && width % 32 != 0) continue;
        Case c{{Tensor(f, 1, width), random_tensor(kF32, n, width, rng, 1, 16)}, random_tensor(f, 40, width, rng)};
        if (width == 96) put_hard_blocks(c.in[1], n - 1);
        c.pos = 21;
        c.in[0].by_row = c.out.by_row = false;
        c.in_place = true;
        check(std::move(c));
      }
  });
}

inline void expect_attention(const KernelTable& table) {
  std::mt19937 rng(6);
  struct Shape3 {
    i64 heads, groups, size;
  };
  expect_kernels(table, "attention", [&](const Kernel& k, auto check) {
    const Format f = k.formats[1];
    for (const auto& [heads, groups, size] :
         {Shape3{9, 3, 64}, {4, 4, 16}, {2, 1, 20}, {5, 1, 7}, {6, 2, 96}, {50, 1, 8}})
      for (const auto& [n, pos] : {std::array<i64, 2>{1, 0}, {1, 63}, {1, 64}, {2, 130}, {5, 61}, {40, 0}, {71, 30}}) {
        if (f == kQ8 && groups * size % 32 != 0) continue;
        if (n > 5 && heads * size * n > 16000) continue;  // the reference is slow
        const i64 rows = pos + n + 3;
        Case c{{random_tensor(kF32, n, heads * size, rng, 2, 8), random_tensor(f, rows, groups * size, rng, 1),
                random_tensor(f, rows, groups * size, rng, 1)},
               Tensor(kF32, n, heads * size, 16)};
        for (int t = 1; t < 3; ++t) {
          c.in[static_cast<std::size_t>(t)].by_row = false;
          // Behind the last key nothing may be read.
          for (i64 i = pos + n; i < rows; ++i)
            std::memset(c.in[static_cast<std::size_t>(t)].row(i), 0xff,
                        static_cast<std::size_t>(c.in[static_cast<std::size_t>(t)].packed));
        }
        c.ints[0] = heads;
        c.ints[1] = groups;
        c.floats[0] = 1 / std::sqrt(static_cast<double>(size));
        c.pos = pos;
        c.scratch_head = size;
        c.tolerance = 3e-6;
        check(std::move(c));
      }
  });
}

}  // namespace terrace::cpu_check
