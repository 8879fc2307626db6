// linear: the product of the elements that x and w stand for, whatever their formats.
#include "terrace/kernels/reference/element.h"
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {

void linear(const KernelArgs& a) {
  if (a.worker != 0) return;
  const TensorView &x = a.in[0], &w = a.in[1], &y = a.out[0];
  for (i64 j = 0; j < rows_of(w); ++j)
    for (i64 i = 0; i < rows_of(x); ++i) {
      double sum = 0;
      for (i64 c = 0; c < columns_of(x); ++c) sum += element(x, i, c) * element(w, j, c);
      put(y, i, j, sum);
    }
}

}  // namespace terrace::reference
