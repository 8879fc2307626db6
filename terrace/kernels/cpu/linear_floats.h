// The float kernels (x in f32) of every instruction set: one algorithm over an instruction set A and a weight format W.
//
// A lane is an element's place in its chunk of 32 (mod A::kLanes). W::decode makes a chunk of a weight's row float; it
// is then multiplied with a few rows of x. Correct and even, not the fastest: a model whose weights are quantized takes
// the block kernels.
//
// A and W come from anonymous namespaces, so that no code made here can be merged with another instruction set's.
#pragma once

#include "terrace/kernels/cpu/linear_split.h"

namespace terrace {

template <class A, class W>
struct FloatLinear {
  using F = typename A::F;
  static constexpr int kVectors = 32 / A::kLanes;

  /// Outputs of one or two rows of w (at w, w + stride) with T rows of x.
  template <int R, int T>
  static void tile(const unsigned char* w, i64 stride, const TensorView& x, i64 token, float (&out)[R][T]) {
    const i64 k = x.dim[1];
    F sum[R][T];
    const float* rows[T];
    for (int t = 0; t < T; ++t) {
      rows[t] = reinterpret_cast<const float*>(x.data + (token + t) * x.stride[0]);
      for (int r = 0; r < R; ++r) sum[r][t] = A::zero_f();
    }
    i64 e = 0;
    for (; e + 32 <= k; e += 32) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        F v[kVectors];
        W::decode(w + r * stride + W::offset(e), v);
#pragma GCC unroll 4
        for (int i = 0; i < kVectors; ++i) {
#pragma GCC unroll 4
          for (int t = 0; t < T; ++t) sum[r][t] = A::fma(v[i], A::load_any(rows[t] + e + i * A::kLanes), sum[r][t]);
        }
      }
    }
    if (e < k) tail<R, T>(w, stride, rows, e, k, sum);
    for (int r = 0; r < R; ++r) {
      for (int t = 0; t < T; ++t) out[r][t] = A::sum_lanes(sum[r][t]);
    }
  }

  /// The last chunk of a dense row whose k is no multiple of 32, filled with zeros.
  template <int R, int T>
  static void tail(const unsigned char* w, i64 stride, const float* const* rows, i64 e, i64 k, F (&sum)[R][T]) {
    for (int r = 0; r < R; ++r) {
      alignas(64) unsigned char chunk[128] = {};
      const i64 bytes = W::offset(k) - W::offset(e);
      for (i64 i = 0; i < bytes; ++i) chunk[i] = w[r * stride + W::offset(e) + i];
      F v[kVectors];
      W::decode(chunk, v);
      for (int t = 0; t < T; ++t) {
        alignas(64) float xs[32] = {};
        for (i64 i = e; i < k; ++i) xs[i - e] = rows[t][i];
        for (int i = 0; i < kVectors; ++i) sum[r][t] = A::fma(v[i], A::load_any(xs + i * A::kLanes), sum[r][t]);
      }
    }
  }

  template <int R, int T>
  static void block(const KernelArgs& args, i64 row, i64 token) {
    const TensorView &w = args.in[1], &y = args.out[0];
    float out[R][T];
    tile<R, T>(reinterpret_cast<const unsigned char*>(w.data) + row * w.stride[0], w.stride[0], args.in[0], token, out);
    for (int t = 0; t < T; ++t) {
      auto* to = reinterpret_cast<float*>(y.data + (token + t) * y.stride[0]);
      for (int r = 0; r < R; ++r) to[row + r] = out[r][t];
    }
  }

  template <int T>
  static void rows(const KernelArgs& args, i64 row, i64 row_end, i64 token) {
    for (; row + 2 <= row_end; row += 2) block<2, T>(args, row, token);
    if (row < row_end) block<1, T>(args, row, token);
  }

  static void run(const KernelArgs& args) {
    const LinearPart part = linear_part(args);
    const i64 chunk = linear_token_chunk(args, 4);
    for (i64 t0 = part.token; t0 < part.token_end; t0 += chunk) {
      const i64 t1 = t0 + chunk < part.token_end ? t0 + chunk : part.token_end;
      for (i64 r0 = part.row; r0 < part.row_end; r0 += 16) {
        const i64 r1 = r0 + 16 < part.row_end ? r0 + 16 : part.row_end;
        i64 t = t0;
        for (; t + 4 <= t1; t += 4) rows<4>(args, r0, r1, t);
        for (; t + 2 <= t1; t += 2) rows<2>(args, r0, r1, t);
        if (t < t1) rows<1>(args, r0, r1, t);
      }
    }
  }
};

}  // namespace terrace
