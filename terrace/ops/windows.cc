// patches, fold and pools: windows over images [batch, height, width, channels].
#include "terrace/ops/ops.h"
#include "terrace/ops/support.h"

namespace terrace::ops {
namespace {

void require_images(const TensorSpec& x) {
  require(is_real(x) && x.shape.rank == 4, "needs images [batch, height, width, channels]");
  elements(x);
}
/// Windows of `size` along an extent.
i64 windows(i64 extent, i64 size, i64 stride, i64 zeros) {
  require(size > 0 && stride > 0 && zeros >= 0 && zeros < size && extent < (i64{1} << 31) - 2 * zeros &&
              extent + 2 * zeros >= size,
          "needs a window that fits, a stride of at least 1 and fewer zeros around than the window has");
  return (extent + 2 * zeros - size) / stride + 1;
}
TensorSpec patches_of(const TensorSpec& x, const Attrs& a) {
  require_images(x);
  const i64 s = a.ints[0], t = a.ints[1], z = a.ints[2];
  const i64 n = windows(x.shape[1].value, s, t, z) * windows(x.shape[2].value, s, t, z);
  return dense({x.shape[0], Dim(n), Dim(s * s * x.shape[3].value)}, x.dtype);
}
std::vector<TensorSpec> infer_patches(std::span<const TensorSpec> in, const Attrs& a) { return {patches_of(in[0], a)}; }
std::vector<TensorSpec> infer_fold(std::span<const TensorSpec> in, const Attrs& a) {
  require(is_real(in[0]) && in[0].shape.rank == 3, "needs patches [batch, count, size]");
  elements(in[0]);
  const i64 s = a.ints[0];
  require(s > 0 && s < 65536 && in[0].shape[2].value % (s * s) == 0, "ints[0] (window) does not divide the patches");
  const TensorSpec y =
      dense({in[0].shape[0], Dim(a.ints[3] >> 32), Dim(a.ints[3] & 0xffffffff), Dim(in[0].shape[2].value / (s * s))},
            in[0].dtype);
  require(y.shape[1].value > 0 && y.shape[2].value > 0 && patches_of(y, a) == in[0], "the patches are not an image's");
  return {y};
}
TensorSpec pooled(const TensorSpec& x, const Attrs& a) {
  require_images(x);
  TensorSpec y = x;
  for (int i : {1, 2}) y.shape[i] = Dim(windows(x.shape[i].value, a.ints[0], a.ints[1], 0));
  return y;
}
std::vector<TensorSpec> infer_pool(std::span<const TensorSpec> in, const Attrs& a) { return {pooled(in[0], a)}; }
std::vector<TensorSpec> infer_pool_grad(std::span<const TensorSpec> in, const Attrs& a) {
  require(in[1] == pooled(in[0], a), "needs dy as the forward pass has it");
  return {in[0]};
}
Cost cost_move(const OpInstance& op) { return streaming_cost(op, 0); }
Cost cost_pool(const OpInstance& op) {
  Cost c = streaming_cost(op, 0);
  c.flops = static_cast<double>(packed_bytes(op.in[0]).count / dense_bytes(op.in[0].dtype));
  return c;
}

void grad_patches(GradContext& c) {
  Attrs a = c.attrs();
  const Shape& x = c.spec(c.in(0)).shape;
  a.ints[3] = x[1].value << 32 | x[2].value;
  if (c.wants(0)) c.give(0, c.call(fold, {c.of_out()}, a));
}
void grad_fold(GradContext& c) {
  Attrs a = c.attrs();
  a.ints[3] = 0;
  if (c.wants(0)) c.give(0, c.call(patches, {c.of_out()}, a));
}
template <const OpDef& derivative>
void grad_pool(GradContext& c) {
  if (c.wants(0)) c.give(0, c.call(derivative, {c.in(0), c.of_out()}, c.attrs()));
}

}  // namespace

const OpDef patches{"patches",   OpClass::data_movement, 1, 1, infer_patches, cost_move, no_scratch, {}, 0, false,
                    grad_patches};
const OpDef fold{"fold", OpClass::data_movement, 1, 1, infer_fold, cost_move, no_scratch, {}, 0, false, grad_fold};
const OpDef mean_pool{"mean_pool", OpClass::elementwise,     1, 1, infer_pool, cost_pool, no_scratch, {}, 0,
                      false,       grad_pool<mean_pool_grad>};
const OpDef max_pool{"max_pool", OpClass::elementwise,    1, 1, infer_pool, cost_pool, no_scratch, {}, 0,
                     false,      grad_pool<max_pool_grad>};
const OpDef mean_pool_grad{"mean_pool_grad", OpClass::elementwise, 2, 1, infer_pool_grad, cost_pool, no_scratch};
const OpDef max_pool_grad{"max_pool_grad", OpClass::elementwise, 2, 1, infer_pool_grad, cost_pool, no_scratch};

}  // namespace terrace::ops
