// rms_norm, softmax, causal or not: a row at a time.
#pragma once

#include "terrace/kernels/cpu/body/math.h"
#include "terrace/kernels/kernel.h"
#include "terrace/kernels/rows.h"

namespace terrace {
namespace {

/// T: of the result.
template <class T = float>
inline void rms_norm_body(const KernelArgs& a) {
  const i64 k = columns_of(a.in[0]);
  const auto* weight = reinterpret_cast<const float*>(a.in[1].data);
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const float* x = floats_at(a.in[0], i);
    T* y = reinterpret_cast<T*>(row_at(a.out[0], i));
    const float squares = sum_vectors(k, [&](i64 c) {
      const F v = load_some(x + c, k - c, 0);
      return V::mul(v, v);
    });
    const float mean = squares / static_cast<float>(k) + static_cast<float>(a.floats[0]);
    const F scale = V::set(1.0f / __builtin_sqrtf(mean));
    for (i64 c = 0; c < k; c += V::kLanes) {
      const F v = V::mul(load_some(x + c, k - c, 0), scale);
      store_some(y + c, k - c, V::mul(v, load_some(weight + c, k - c, 0)));
    }
  }
}

inline void rms_norm_bf16_body(const KernelArgs& a) { rms_norm_body<Bf16>(a); }

/// y = softmax(x) over k columns.
inline void softmax_row(const float* x, float* y, i64 k) {
  const float infinity = __builtin_inff();
  F m = V::set(-infinity);
  for (i64 c = 0; c < k; c += V::kLanes) m = V::max(load_some(x + c, k - c, -infinity), m);
  const F top = V::set(V::top(m));
  const float sum = sum_vectors(k, [&](i64 c) {
    const F e = exp_of(V::sub(load_some(x + c, k - c, -infinity), top));
    store_some(y + c, k - c, e);
    return e;
  });
  const F scale = V::set(1.0f / sum);
  for (i64 c = 0; c < k; c += V::kLanes) store_some(y + c, k - c, V::mul(load_some(y + c, k - c, 0), scale));
}

inline void softmax_body(const KernelArgs& a) {
  const Range rows = share(rows_of(a.in[0]), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i)
    softmax_row(floats_at(a.in[0], i), floats_at(a.out[0], i), columns_of(a.in[0]));
}

/// Row i of a matrix [n, m] sees columns 0 .. i + m - n.
inline void causal_softmax_body(const KernelArgs& a) {
  const TensorView& x = a.in[0];
  const i64 n = x.dim[x.rank - 2], m = columns_of(x);
  const Range rows = share(rows_of(x), 1, a.worker, a.workers);
  for (i64 i = rows.begin; i < rows.end; ++i) {
    const i64 last = i % n + 1 + m - n, seen = last < 0 ? 0 : last;
    float* y = floats_at(a.out[0], i);
    if (seen > 0) softmax_row(floats_at(x, i), y, seen);
    __builtin_memset(y + seen, 0, static_cast<unsigned long>(m - seen) * sizeof(float));
  }
}

}  // namespace
}  // namespace terrace
