// The block kernels (x in q8a) of avx2 and avx512: one algorithm over an instruction set A and a weight format W.
//
// A lane is a row of w. A panel of rows is unpacked once into bytes interleaved by four (so that a broadcast of four
// bytes of x meets four bytes of every row), then multiplied with up to A::kTokens rows of x. Everything that makes an
// output's bits happens lane by lane in tile() and fold(), whatever the panel holds besides.
//
// A and W come from anonymous namespaces, so that no code made here can be merged with another instruction set's.
#pragma once

#include "terrace/kernels/cpu/linear_split.h"

namespace terrace {

template <class A>
struct BlockPanel {
  static constexpr int kRows = A::kGroups * A::kLanes;
  alignas(64) unsigned char q[A::kBlocks][A::kGroups][8][A::kLanes * 4];
  alignas(64) float d[A::kBlocks][kRows];
  alignas(64) float m[A::kBlocks][kRows];
};

/// Where a worker is: the panel's rows of w and its blocks.
struct BlockCursor {
  const unsigned char* w;  ///< the matrix's first byte
  i64 stride;              ///< bytes a row
  i64 row, row_end;        ///< rows [row, row_end) of the panel, at most kRows; lanes beyond repeat the last row
  i64 prefetch, prefetch_end;  ///< bytes from w: how far ahead the rows are fetched, and where they end
};

/// One row of q8a.
struct BlockRow {
  const unsigned char* q;
  const float* d;
  const float* s;
};

static inline BlockRow block_row(const TensorView& x, i64 i) {
  const i64 k = x.dim[1];
  const auto* p = reinterpret_cast<const unsigned char*>(x.data + i * x.stride[0]);
  const auto* d = reinterpret_cast<const float*>(p + k);
  return {p, d, d + k / 32};
}

template <class A, class W>
struct BlockLinear {
  using Panel = BlockPanel<A>;
  using F = typename A::F;
  using I = typename A::I;
  static constexpr int kRows = Panel::kRows;

  /// Partial sums: [token][block mod 4][row].
  struct Sums {
    alignas(64) float a[A::kTokens][4][kRows];
  };

  static void unpack(const BlockCursor& c, i64 block, int count, Panel& p) {
    const unsigned char* rows[kRows];
    for (int i = 0; i < kRows; ++i) {
      const i64 row = c.row + i < c.row_end ? c.row + i : c.row_end - 1;
      rows[i] = c.w + row * c.stride + block * W::kBytes;
    }
    // Memory is fetched in its own order, a fixed distance ahead: the hardware follows sixteen short streams badly.
    i64 ahead = c.row * c.stride + block * W::kBytes * kRows + c.prefetch;
    for (int b = 0; b < count; ++b) {
      const i64 end = ahead + W::kBytes * kRows;
      for (; ahead < end; ahead += 64) {
        if (ahead < c.prefetch_end) A::prefetch(c.w + ahead);
      }
      for (int g = 0; g < A::kGroups; ++g) {
        const unsigned char** group = rows + g * A::kLanes;
        W::unpack(group, p.q[b][g], p.d[b] + g * A::kLanes, p.m[b] + g * A::kLanes);
        for (int i = 0; i < A::kLanes; ++i) group[i] += W::kBytes;
      }
    }
  }

  /// Adds `count` blocks of T rows of x, whose blocks begin at `block`, into their sums.
  template <int T>
  [[gnu::noinline]] static void tile(const Panel& p, int count, const BlockRow* x, i64 block, float (*sums)[4][kRows]) {
    constexpr int G = A::kGroups;
    alignas(64) int bias[T][A::kBlocks];
    if constexpr (W::kBias != 0) {
      for (int t = 0; t < T; ++t) A::biases(x[t].d + block, x[t].s + block, count, W::kBias, bias[t]);
    }
    for (int b = 0; b < count; ++b) {
      I dot[G][T];
#pragma GCC unroll 8
      for (int g = 0; g < G; ++g) {
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) dot[g][t] = A::zero();
      }
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          const I xq = A::broadcast4(x[t].q + (block + b) * 32 + j * 4);
#pragma GCC unroll 8
          for (int g = 0; g < G; ++g) dot[g][t] = W::add_dot(dot[g][t], p.q[b][g][j], xq);
        }
      }
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        const F xd = A::set(x[t].d[block + b]);
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
          I sum = W::finish_dot(dot[g][t]);
          if constexpr (W::kBias != 0) sum = A::sub(sum, bias[t][b]);
          float* to = &sums[t][b % 4][g * A::kLanes];
          F y = A::fma(A::mul(A::load(p.d[b] + g * A::kLanes), xd), A::to_float(sum), A::load(to));
          if constexpr (W::kHasMin) y = A::fma(A::load(p.m[b] + g * A::kLanes), A::set(x[t].s[block + b]), y);
          A::store(to, y);
        }
      }
    }
  }

  static void fold(const float (&a)[4][kRows], float* y, i64 rows) {
    alignas(64) float out[kRows];
    for (int g = 0; g < kRows; g += A::kLanes) {
      const F lo = A::add(A::load(a[0] + g), A::load(a[1] + g)), hi = A::add(A::load(a[2] + g), A::load(a[3] + g));
      A::store(out + g, A::add(lo, hi));
    }
    for (i64 i = 0; i < rows; ++i) y[i] = out[i];
  }

  /// Rows [c.row, c.row_end) of w with rows [token, token_end) of x, at most kTokens.
  static void panel(const KernelArgs& args, const BlockCursor& c, i64 token, i64 token_end) {
    const TensorView &x = args.in[0], &y = args.out[0];
    const i64 blocks = x.dim[1] / 32;
    Panel p;
    Sums s;
    BlockRow rows[A::kTokens];
    const int n = static_cast<int>(token_end - token);
    for (int t = 0; t < n; ++t) {
      rows[t] = block_row(x, token + t);
      for (auto& part : s.a[t]) {
        for (float& v : part) v = 0;
      }
    }
    for (i64 b = 0; b < blocks; b += A::kBlocks) {
      const int count = static_cast<int>(blocks - b < A::kBlocks ? blocks - b : A::kBlocks);
      unpack(c, b, count, p);
      int t = 0;
      for (; t + 4 <= n; t += 4) tile<4>(p, count, rows + t, b, s.a + t);
      switch (n - t) {
        case 3: tile<3>(p, count, rows + t, b, s.a + t); break;
        case 2: tile<2>(p, count, rows + t, b, s.a + t); break;
        case 1: tile<1>(p, count, rows + t, b, s.a + t); break;
        default: break;
      }
    }
    for (int t = 0; t < n; ++t) {
      auto* out = reinterpret_cast<float*>(y.data + (token + t) * y.stride[0]);
      fold(s.a[t], out + c.row, c.row_end - c.row);
    }
  }

  static void run(const KernelArgs& args) {
    const LinearPart part = linear_part(args);
    const TensorView &x = args.in[0], &w = args.in[1];
    BlockCursor c{reinterpret_cast<const unsigned char*>(w.data), w.stride[0], 0, 0, 0, part.row_end * w.stride[0]};
    // At least a whole panel ahead: its rows are read side by side, while memory is fetched row after row.
    c.prefetch = c.stride * kRows > A::kPrefetch ? c.stride * kRows : A::kPrefetch;
    const i64 chunk = linear_token_chunk(x.stride[0], A::kTokens);
    for (i64 t0 = part.token; t0 < part.token_end; t0 += chunk) {
      const i64 t1 = t0 + chunk < part.token_end ? t0 + chunk : part.token_end;
      for (c.row = part.row; c.row < part.row_end; c.row += kRows) {
        c.row_end = c.row + kRows < part.row_end ? c.row + kRows : part.row_end;
        for (i64 t = t0; t < t1; t += A::kTokens) panel(args, c, t, t + A::kTokens < t1 ? t + A::kTokens : t1);
      }
    }
  }
};

}  // namespace terrace
