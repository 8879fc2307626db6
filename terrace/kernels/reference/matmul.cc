// matmul: products in every transposition; of bf16 where an operand or the result is.
#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {

namespace {

/// z = op(x) op(y), plus what lies in `base` if that is not null.
void product(const KernelArgs& a, const TensorView& x, const TensorView& y, const TensorView* base) {
  if (a.worker != 0) return;
  const TensorView& z = a.out[0];
  const bool tx = a.ints[0] != 0, ty = a.ints[1] != 0, flat = a.ints[2] != 0;
  const bool rounds = x.dtype == DType::bf16 || y.dtype == DType::bf16 || z.dtype == DType::bf16;
  const auto factor = [&](const TensorView& v, i64 row, i64 column) {
    const double f = element(v, row, column);
    return rounds ? static_cast<double>(bf16_to_float(float_to_bf16(static_cast<float>(f)))) : f;
  };
  // Rows of one matrix, and of how many.
  const i64 rows_x = flat ? rows_of(x) : x.dim[x.rank - 2], rows_y = flat ? rows_of(y) : y.dim[y.rank - 2];
  i64 batch = 1;
  for (int d = 0; !flat && d + 2 < x.rank; ++d) batch *= x.dim[d];
  const i64 m = tx ? columns_of(x) : rows_x, k = tx ? rows_x : columns_of(x), n = ty ? rows_y : columns_of(y);
  for (i64 b = 0; b < batch; ++b)
    for (i64 i = 0; i < m; ++i)
      for (i64 j = 0; j < n; ++j) {
        double sum = base != nullptr ? element(*base, b * m + i, j) : 0;
        for (i64 e = 0; e < k; ++e)
          sum += (tx ? factor(x, b * rows_x + e, i) : factor(x, b * rows_x + i, e)) *
                 (ty ? factor(y, b * rows_y + j, e) : factor(y, b * rows_y + e, j));
        put(z, b * m + i, j, sum);
      }
}

}  // namespace

void matmul(const KernelArgs& a) { product(a, a.in[0], a.in[1], nullptr); }
void matmul_add(const KernelArgs& a) { product(a, a.in[1], a.in[2], a.in); }

}  // namespace terrace::reference
