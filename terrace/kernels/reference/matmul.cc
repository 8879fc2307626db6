// matmul: products in every transposition.
#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {

void matmul(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &y = a.in[1], &z = a.out[0];
  const bool tx = a.ints[0] != 0, ty = a.ints[1] != 0, flat = a.ints[2] != 0;
  // Rows of one matrix, and of how many.
  const i64 rows_x = flat ? rows_of(x) : x.dim[x.rank - 2], rows_y = flat ? rows_of(y) : y.dim[y.rank - 2];
  i64 batch = 1;
  for (int d = 0; !flat && d + 2 < x.rank; ++d) batch *= x.dim[d];
  const i64 m = tx ? columns_of(x) : rows_x, k = tx ? rows_x : columns_of(x), n = ty ? rows_y : columns_of(y);
  for (i64 b = 0; b < batch; ++b)
    for (i64 i = 0; i < m; ++i)
      for (i64 j = 0; j < n; ++j) {
        double sum = 0;
        for (i64 e = 0; e < k; ++e)
          sum += (tx ? element(x, b * rows_x + e, i) : element(x, b * rows_x + i, e)) *
                 (ty ? element(y, b * rows_y + j, e) : element(y, b * rows_y + e, j));
        put(z, b * m + i, j, sum);
      }
}

}  // namespace terrace::reference
