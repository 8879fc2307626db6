// linear for any processor: plain loops over 32 elements that compilers turn into what vectors there are.
#include "terrace/kernels/cpu/linear.h"

#include "terrace/kernels/cpu/linear_floats.h"
#include "terrace/kernels/cpu/linear_split.h"
#include "terrace/kernels/cpu/portable/decode.h"

namespace terrace::portable {
namespace {

/// Signed operands of their own type: g++ 12 gets a sum over casts of unsigned bytes wrong.
inline int dot32(const signed char* a, const signed char* b) {
  int sum = 0;
  for (int i = 0; i < 32; ++i) sum += a[i] * b[i];
  return sum;
}

constexpr int kTokens = 16;

/// One row of w with rows [token, token + n) of x, n at most kTokens.
template <class W>
void block_row(const KernelArgs& args, i64 row, i64 token, int n) {
  const TensorView &x = args.in[0], &w = args.in[1], &y = args.out[0];
  const i64 k = x.dim[1];
  const auto* wp = reinterpret_cast<const unsigned char*>(w.data + row * w.stride[0]);
  const std::byte* xp = x.data + token * x.stride[0];
  float sums[kTokens][4] = {};
  Block b;
  for (i64 i = 0; i < k / 32; ++i) {
    W::unpack(wp + i * W::kBytes, b);
    for (int t = 0; t < n; ++t) {
      const auto* q = reinterpret_cast<const signed char*>(xp + t * x.stride[0]);
      const auto* d = reinterpret_cast<const float*>(q + k);
      float& sum = sums[t][i % 4];
      sum += (b.d * d[i]) * static_cast<float>(dot32(b.q, q + i * 32));
      if constexpr (W::kHasMin) sum += b.m * d[k / 32 + i];
    }
  }
  for (int t = 0; t < n; ++t) {
    auto* to = reinterpret_cast<float*>(y.data + (token + t) * y.stride[0]);
    to[row] = (sums[t][0] + sums[t][1]) + (sums[t][2] + sums[t][3]);
  }
}

template <class W>
void run_blocks(const KernelArgs& args) {
  const LinearPart part = linear_part(args);
  for (i64 t = part.token; t < part.token_end; t += kTokens) {
    const int n = static_cast<int>(part.token_end - t < kTokens ? part.token_end - t : kTokens);
    for (i64 row = part.row; row < part.row_end; ++row) block_row<W>(args, row, t, n);
  }
}

/// Vectors of four as the compiler offers them everywhere.
struct Four {
  using F [[gnu::vector_size(16)]] = float;
  static constexpr int kLanes = 4;
  static F zero_f() { return F{}; }
  static F load_any(const float* p) {
    F v;
    __builtin_memcpy(&v, p, 16);
    return v;
  }
  static F fma(F a, F b, F c) { return a * b + c; }
  static float sum_lanes(F v) { return (v[0] + v[2]) + (v[1] + v[3]); }
};

struct F32 : DenseOffset<4> {
  static void decode(const unsigned char* p, Four::F* v) { __builtin_memcpy(v, p, 128); }
};

}  // namespace

void linear_q8a_q8_0(const KernelArgs& a) { run_blocks<Q8_0>(a); }
void linear_q8a_q4_0(const KernelArgs& a) { run_blocks<Q4_0>(a); }
void linear_q8a_q4_1(const KernelArgs& a) { run_blocks<Q4_1>(a); }
void linear_f32_f32(const KernelArgs& a) { FloatLinear<Four, F32>::run(a); }
void linear_f32_f16(const KernelArgs& a) { FloatLinear<Four, F16>::run(a); }
void linear_f32_q8_0(const KernelArgs& a) { FloatLinear<Four, Q8_0>::run(a); }
void linear_f32_q4_0(const KernelArgs& a) { FloatLinear<Four, Q4_0>::run(a); }
void linear_f32_q4_1(const KernelArgs& a) { FloatLinear<Four, Q4_1>::run(a); }

}  // namespace terrace::portable
