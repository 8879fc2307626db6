#include "terrace/ops/ops.h"

#include "terrace/ops/fused.h"
#include "terrace/ops/standard_attention.h"

namespace terrace::ops {

std::span<const OpDef* const> all() {
  static constexpr const OpDef* kAll[] = {&take_rows,
                                          &dequantize,
                                          &quantize,
                                          &rms_norm,
                                          &linear,
                                          &add,
                                          &mul,
                                          &silu,
                                          &silu_mul,
                                          &softmax,
                                          &rope_angles,
                                          &rope,
                                          &append_rows,
                                          &attention,
                                          &last_rows,
                                          &fill,
                                          &matmul,
                                          &matmul_add,
                                          &sub,
                                          &div,
                                          &scale,
                                          &spread,
                                          &relu,
                                          &gelu,
                                          &relu_grad,
                                          &gelu_grad,
                                          &silu_grad,
                                          &softmax_grad,
                                          &add_row,
                                          &sum_rows,
                                          &mean,
                                          &layer_norm,
                                          &norm_stats,
                                          &norm_grad,
                                          &norm_grad_weight,
                                          &scatter_rows,
                                          &positions,
                                          &cross_entropy,
                                          &cross_entropy_grad,
                                          &with_gradient,
                                          &correct,
                                          &flash_attention,
                                          &flash_attention_grad,
                                          &slice,
                                          &pad,
                                          &concat,
                                          &transpose,
                                          &patches,
                                          &fold,
                                          &mean_pool,
                                          &max_pool,
                                          &mean_pool_grad,
                                          &max_pool_grad,
                                          &dropout,
                                          &cast,
                                          &square_sums,
                                          &total,
                                          &advance,
                                          &learning_rate,
                                          &clip,
                                          &adamw,
                                          &sgd,
                                          &accumulate,
                                          &add_layer_norm,
                                          &add_rms_norm,
                                          &norm_grad_add,
                                          &bias_activation,
                                          &bias_activation_grad,
                                          &rescale,
                                          &blend,
                                          &add_square,
                                          &root,
                                          &descend,
                                          &split_heads,
                                          &merge_heads,
                                          &causal_softmax};
  return kAll;
}

const OpDef* find(std::string_view name) {
  for (const OpDef* op : all())
    if (op->name == name) return op;
  return nullptr;
}

}  // namespace terrace::ops
