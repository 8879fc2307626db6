// The oracle's kernels, one for each op of ops.h. Worker 0 does everything; sums are in double. Numbers are stored as
// f32, f64 or bf16, as the view says.
#pragma once

#include "terrace/kernels/kernel.h"

// One name for op and function.
// What inference has, and what training has besides.
#define TERRACE_INFERENCE_REFERENCES(X) \
  X(take_rows)                          \
  X(last_rows)                          \
  X(dequantize)                         \
  X(quantize)                           \
  X(append_rows)                        \
  X(rms_norm)                           \
  X(softmax)                            \
  X(linear)                             \
  X(add)                                \
  X(mul)                                \
  X(silu)                               \
  X(silu_mul)                           \
  X(rope_angles)                        \
  X(rope)                               \
  X(attention)
#define TERRACE_TRAINING_REFERENCES(X) \
  X(fill)                              \
  X(matmul)                            \
  X(matmul_add)                        \
  X(sub)                               \
  X(div)                               \
  X(scale)                             \
  X(spread)                            \
  X(relu)                              \
  X(gelu)                              \
  X(relu_grad)                         \
  X(gelu_grad)                         \
  X(silu_grad)                         \
  X(softmax_grad)                      \
  X(add_row)                           \
  X(sum_rows)                          \
  X(mean)                              \
  X(layer_norm)                        \
  X(norm_stats)                        \
  X(norm_grad)                         \
  X(norm_grad_weight)                  \
  X(positions)                         \
  X(scatter_rows)                      \
  X(cross_entropy)                     \
  X(cross_entropy_grad)                \
  X(with_gradient)                     \
  X(correct)                           \
  X(flash_attention)                   \
  X(flash_attention_grad)              \
  X(slice)                             \
  X(pad)                               \
  X(concat)                            \
  X(transpose)                         \
  X(patches)                           \
  X(fold)                              \
  X(mean_pool)                         \
  X(max_pool)                          \
  X(mean_pool_grad)                    \
  X(max_pool_grad)                     \
  X(dropout)                           \
  X(cast)                              \
  X(square_sums)                       \
  X(total)                             \
  X(advance)                           \
  X(learning_rate)                     \
  X(clip)                              \
  X(adamw)                             \
  X(sgd)                               \
  X(accumulate)                        \
  X(add_layer_norm)                    \
  X(add_rms_norm)                      \
  X(norm_grad_add)                     \
  X(bias_activation)                   \
  X(bias_activation_grad)              \
  X(rescale)                           \
  X(blend)                             \
  X(add_square)                        \
  X(root)                              \
  X(descend)                           \
  X(split_heads)                       \
  X(merge_heads)                       \
  X(causal_softmax)
#define TERRACE_REFERENCE_KERNELS(X) TERRACE_INFERENCE_REFERENCES(X) TERRACE_TRAINING_REFERENCES(X)

namespace terrace::reference {

#define TERRACE_DECLARE_REFERENCE(op) void op(const KernelArgs& a);
TERRACE_REFERENCE_KERNELS(TERRACE_DECLARE_REFERENCE)

}  // namespace terrace::reference
