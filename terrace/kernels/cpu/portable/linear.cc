// linear for any processor: plain loops over 32 elements that compilers turn into what vectors there are.
#include "terrace/kernels/cpu/linear.h"

#include "terrace/kernels/cpu/linear_floats.h"
#include "terrace/kernels/cpu/linear_split.h"
#include "terrace/kernels/half.h"

namespace terrace::portable {
namespace {

inline float half_at(const unsigned char* p) {
  std::uint16_t h;
  __builtin_memcpy(&h, p, 2);
  return half_to_float(h);
}

/// A block of a weight: element = d q + m.
struct Block {
  signed char q[32];
  float d, m;
};

inline void unpack_nibbles(const unsigned char* p, int bias, Block& b) {
  for (int i = 0; i < 16; ++i) {
    b.q[i] = static_cast<signed char>((p[i] & 15) - bias);
    b.q[i + 16] = static_cast<signed char>((p[i] >> 4) - bias);
  }
}

struct Q8_0 : BlockOffset<34> {
  static constexpr int kBytes = 34;
  static constexpr bool kHasMin = false;
  static void unpack(const unsigned char* p, Block& b) {
    b.d = half_at(p);
    __builtin_memcpy(b.q, p + 2, 32);
  }
};

struct Q4_0 : BlockOffset<18> {
  static constexpr int kBytes = 18;
  static constexpr bool kHasMin = false;
  static void unpack(const unsigned char* p, Block& b) {
    b.d = half_at(p);
    unpack_nibbles(p + 2, 8, b);
  }
};

struct Q4_1 : BlockOffset<20> {
  static constexpr int kBytes = 20;
  static constexpr bool kHasMin = true;
  static void unpack(const unsigned char* p, Block& b) {
    b.d = half_at(p);
    b.m = half_at(p + 2);
    unpack_nibbles(p + 4, 0, b);
  }
};

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

struct F16 : DenseOffset<2> {
  static void decode(const unsigned char* p, Four::F* v) {
    for (int i = 0; i < 32; ++i) v[i / 4][i % 4] = half_at(p + i * 2);
  }
};

template <class W>
struct Dequantized : W {
  static void decode(const unsigned char* p, Four::F* v) {
    Block b;
    W::unpack(p, b);
    float f[32];
    for (int i = 0; i < 32; ++i) {
      f[i] = b.d * static_cast<float>(b.q[i]);
      if constexpr (W::kHasMin) f[i] += b.m;
    }
    __builtin_memcpy(v, f, sizeof f);
  }
};

}  // namespace

void linear_q8a_q8_0(const KernelArgs& a) { run_blocks<Q8_0>(a); }
void linear_q8a_q4_0(const KernelArgs& a) { run_blocks<Q4_0>(a); }
void linear_q8a_q4_1(const KernelArgs& a) { run_blocks<Q4_1>(a); }
void linear_f32_f32(const KernelArgs& a) { FloatLinear<Four, F32>::run(a); }
void linear_f32_f16(const KernelArgs& a) { FloatLinear<Four, F16>::run(a); }
void linear_f32_q8_0(const KernelArgs& a) { FloatLinear<Four, Dequantized<Q8_0>>::run(a); }
void linear_f32_q4_0(const KernelArgs& a) { FloatLinear<Four, Dequantized<Q4_0>>::run(a); }
void linear_f32_q4_1(const KernelArgs& a) { FloatLinear<Four, Dequantized<Q4_1>>::run(a); }

}  // namespace terrace::portable
