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

/// Where a worker is: the rows of w that it works on.
struct BlockCursor {
  const unsigned char* w;      ///< the matrix's first byte
  i64 stride;                  ///< bytes a row
  i64 row, row_end;            ///< rows [row, row_end), at most a panel; lanes beyond repeat the last row
  i64 prefetch, prefetch_end;  ///< bytes: how far ahead rows are fetched, and where they end, from w
};

/// The beginnings of a block in consecutive rows, evenly spaced or (at the end of a matrix) listed.
struct EvenRows {
  const unsigned char* first;
  i64 stride;
  const unsigned char* operator()(int i) const { return first + i * stride; }
};
struct ListedRows {
  const unsigned char* const* rows;
  i64 offset;
  const unsigned char* operator()(int i) const { return rows[i] + offset; }
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

  /// Memory is fetched in its own order, a fixed distance ahead: the hardware follows many short streams badly.
  static void prefetch(const BlockCursor& c, i64 block, i64 rows) {
    const i64 begin = c.row * c.stride + block * W::kBytes * rows + c.prefetch, end = begin + W::kBytes * rows;
    if (end > c.prefetch_end) return;
    for (i64 at = begin; at < end; at += 64) A::prefetch(c.w + at);
  }

  /// Pointers to the first block of `rows` rows from c.row; those that are not there are the last.
  static void list_rows(const BlockCursor& c, const unsigned char** list, int rows) {
    for (int i = 0; i < rows; ++i) list[i] = c.w + (c.row + i < c.row_end ? c.row + i : c.row_end - 1) * c.stride;
  }

  static void unpack(const BlockCursor& c, i64 block, int count, Panel& p) {
    const unsigned char* list[kRows];
    const bool even = c.row + kRows <= c.row_end;
    if (!even) list_rows(c, list, kRows);
    for (int b = 0; b < count; ++b) {
      prefetch(c, block + b, kRows);
      const i64 offset = (block + b) * W::kBytes;
      for (int g = 0; g < A::kGroups; ++g) {
        I q[8];
        F d, m;
        if (even) {
          W::unpack(EvenRows{c.w + (c.row + g * A::kLanes) * c.stride + offset, c.stride}, q, d, m);
        } else {
          W::unpack(ListedRows{list + g * A::kLanes, offset}, q, d, m);
        }
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) A::store(p.q[b][g][j], q[j]);
        A::store(p.d[b] + g * A::kLanes, d);
        if constexpr (W::kHasMin) A::store(p.m[b] + g * A::kLanes, m);
      }
    }
  }

  /// What a block adds to its partial sums; the one place that rounds.
  static F add_block(F sum, I dot, int bias, F d, F m, const BlockRow& x, i64 block) {
    I total = W::finish_dot(dot);
    if constexpr (W::kBias != 0) total = A::sub(total, bias);
    sum = A::fma(A::mul(d, A::set(x.d[block])), A::to_float(total), sum);
    if constexpr (W::kHasMin) sum = A::fma(m, A::set(x.s[block]), sum);
    return sum;
  }

  /// Adds `count` blocks of T rows of x, whose blocks begin at `block`, into their sums.
  template <int T>
  [[gnu::noinline]] static void tile(const Panel& p, int count, const BlockRow* x, i64 block, float (*sums)[4][kRows]) {
    constexpr int G = A::kGroups;
    alignas(64) int bias[T][A::kBlocks];
    for (int t = 0; t < T; ++t) {
      if constexpr (W::kBias != 0)
        A::biases(x[t].d + block, x[t].s + block, count, W::kBias, bias[t]);
      else
        bias[t][0] = 0;
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
          for (int g = 0; g < G; ++g) {
            dot[g][t] = W::add_dot(dot[g][t], A::load(p.q[b][g][j]), xq);
            A::pin(dot[g][t]);
          }
        }
      }
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
          const F d = A::load(p.d[b] + g * A::kLanes), m = A::load(p.m[b] + g * A::kLanes);
          float* to = &sums[t][b % 4][g * A::kLanes];
          A::store(to, add_block(A::load(to), dot[g][t], bias[t][W::kBias != 0 ? b : 0], d, m, x[t], block + b));
        }
      }
    }
  }

  /// The end of kWidth outputs, `rows` of which are written.
  template <int kWidth>
  static void fold(const float (&a)[4][kWidth], float* y, i64 rows) {
    alignas(64) float out[kWidth];
    for (int g = 0; g < kWidth; g += A::kLanes) {
      const F lo = A::add(A::load(a[0] + g), A::load(a[1] + g)), hi = A::add(A::load(a[2] + g), A::load(a[3] + g));
      A::store(out + g, A::add(lo, hi));
    }
    for (i64 i = 0; i < rows; ++i) y[i] = out[i];
  }

  /// A few rows of x: memory is the limit, so blocks are unpacked in registers and used at once.
  template <int T>
  static void stream(const BlockCursor& c, const BlockRow* x, i64 blocks, float (&sums)[T][4][A::kLanes]) {
    alignas(64) int bias[T][A::kBlocks] = {};
    for (i64 b = 0; b < blocks; ++b) {
      if constexpr (W::kBias != 0) {
        if (b % A::kBlocks == 0) {
          const int count = static_cast<int>(blocks - b < A::kBlocks ? blocks - b : A::kBlocks);
          for (int t = 0; t < T; ++t) A::biases(x[t].d + b, x[t].s + b, count, W::kBias, bias[t]);
        }
      }
      prefetch(c, b, A::kLanes);
      I q[8];
      F d, m;
      W::unpack(EvenRows{c.w + c.row * c.stride + b * W::kBytes, c.stride}, q, d, m);
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        I dot = A::zero();
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) dot = W::add_dot(dot, q[j], A::broadcast4(x[t].q + b * 32 + j * 4));
        float* to = sums[t][b % 4];
        A::store(to, add_block(A::load(to), dot, bias[t][b % A::kBlocks], d, m, x[t], b));
      }
    }
  }

  /// All whole registers of rows from c.row; leaves c at the rest.
  template <int T>
  [[gnu::noinline]] static void stream_rows(const KernelArgs& args, BlockCursor& c, i64 token, i64 row_end) {
    const TensorView &x = args.in[0], &y = args.out[0];
    BlockRow xs[T];
    for (int t = 0; t < T; ++t) xs[t] = block_row(x, token + t);
    for (; c.row + A::kLanes <= row_end; c.row += A::kLanes) {
      alignas(64) float sums[T][4][A::kLanes] = {};
      stream<T>(c, xs, x.dim[1] / 32, sums);
      for (int t = 0; t < T; ++t) {
        auto* out = reinterpret_cast<float*>(y.data + (token + t) * y.stride[0]);
        fold<A::kLanes>(sums[t], out + c.row, A::kLanes);
      }
    }
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
      fold<kRows>(s.a[t], out + c.row, c.row_end - c.row);
    }
  }

  static void run(const KernelArgs& args) {
    const LinearPart part = linear_part(args);
    const TensorView& w = args.in[1];
    BlockCursor c{reinterpret_cast<const unsigned char*>(w.data), w.stride[0], 0, 0, 0, part.row_end * w.stride[0]};
    // At least a whole panel ahead: its rows are read side by side, while memory is fetched row after row.
    c.prefetch = c.stride * kRows > A::kPrefetch ? c.stride * kRows : A::kPrefetch;
    i64 row = part.row;
    if (part.token_end - part.token <= 3) {
      c.row = row;
      switch (part.token_end - part.token) {
        case 1: stream_rows<1>(args, c, part.token, part.row_end); break;
        case 2: stream_rows<2>(args, c, part.token, part.row_end); break;
        case 3: stream_rows<3>(args, c, part.token, part.row_end); break;
        default: return;
      }
      row = c.row;
    }
    const i64 chunk = linear_token_chunk(args, A::kTokens);
    for (i64 t0 = part.token; t0 < part.token_end; t0 += chunk) {
      const i64 t1 = t0 + chunk < part.token_end ? t0 + chunk : part.token_end;
      for (c.row = row; c.row < part.row_end; c.row += kRows) {
        c.row_end = c.row + kRows < part.row_end ? c.row + kRows : part.row_end;
        for (i64 t = t0; t < t1; t += A::kTokens) panel(args, c, t, t + A::kTokens < t1 ? t + A::kTokens : t1);
      }
    }
  }
};

}  // namespace terrace
