// Ops that stand for several: the kernels of those, one after the other.
#include "terrace/kernels/reference/reference.h"

namespace terrace::reference {
namespace {

/// `kernel` on these operands, with the attributes of `a`.
void call(KernelFn kernel, KernelArgs a, const TensorView* in, const TensorView* out) {
  a.in = in;
  a.out = out;
  kernel(a);
}

void add_norm(const KernelArgs& a, KernelFn norm, bool centred) {
  const TensorView of_norm[] = {a.out[0], a.in[2], centred ? a.in[3] : TensorView{}};
  call(add, a, a.in, &a.out[0]);
  call(norm, a, of_norm, &a.out[1]);
  const i64 ints[] = {centred, 0, 0, 0};
  KernelArgs stats = a;
  stats.ints = ints;
  call(norm_stats, stats, &a.out[0], &a.out[2]);
}

}  // namespace

void add_layer_norm(const KernelArgs& a) { add_norm(a, layer_norm, true); }
void add_rms_norm(const KernelArgs& a) { add_norm(a, rms_norm, false); }

void norm_grad_add(const KernelArgs& a) {
  norm_grad(a);
  const TensorView both[] = {a.in[4], a.out[0]};
  call(add, a, both, a.out);
}

void bias_activation(const KernelArgs& a) {
  constexpr KernelFn kFunctions[] = {relu, gelu, silu};
  add_row(a);
  call(kFunctions[a.ints[0]], a, a.out, a.out);
}
void bias_activation_grad(const KernelArgs& a) {
  constexpr KernelFn kGradients[] = {relu_grad, gelu_grad, silu_grad};
  add_row(a);
  const TensorView of_grad[] = {a.out[0], a.in[2]};
  call(kGradients[a.ints[0]], a, of_grad, a.out);
}

}  // namespace terrace::reference
