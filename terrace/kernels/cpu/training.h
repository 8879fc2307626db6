// The kernels of training other than matrices and attention.
#pragma once

#include "terrace/kernels/cpu/list.h"

namespace terrace {

// Order of additions; L lanes of a vector, "in vectors": as rms_norm's sum in kernels.h.
//   norms, their statistics and gradients, causal_softmax, softmax_grad, cross_entropy: along a row, in vectors
//   fused ops: as those that they stand for
//   sum_rows, norm_grad_weight: by column, rows in runs of 64: each run one after the other, then the runs' sums in
//     order
//   mean: rows in runs of 16384 elements, each in vectors; the runs' sums in double, in order
//   square_sums: the tensor in runs of 16384 elements, row by row whatever the strides, each in vectors
//   total: in double, in order
//   scatter_rows, fold and gradients of pools: in order of ids, or of windows, from 0
//   mean_pool: a window row by row
// Where operands are bf16 all this is done in f32, and a bf16 result is rounded once, to nearest, ties to even.
#define TERRACE_TRAINING_KERNELS(X)                       \
  X(sub, "sub", "fff")                                    \
  X(div, "div", "fff")                                    \
  X(scale, "scale", "ff")                                 \
  X(relu, "relu", "ff")                                   \
  X(gelu, "gelu", "ff")                                   \
  X(relu_grad, "relu_grad", "fff")                        \
  X(gelu_grad, "gelu_grad", "fff")                        \
  X(silu_grad, "silu_grad", "fff")                        \
  X(softmax_grad, "softmax_grad", "fff")                  \
  X(add_row, "add_row", "fff")                            \
  X(sum_rows, "sum_rows", "ff")                           \
  X(mean, "mean", "ff")                                   \
  X(layer_norm, "layer_norm", "ffff")                     \
  X(norm_stats, "norm_stats", "ff")                       \
  X(norm_grad, "norm_grad", "fffff")                      \
  X(norm_grad_weight, "norm_grad_weight", "ffff")         \
  X(cross_entropy, "cross_entropy", "fiff")               \
  X(cross_entropy_grad, "cross_entropy_grad", "fifff")    \
  X(dropout, "dropout", "fif")                            \
  X(cast_to_bf16, "cast", "fh")                           \
  X(cast_to_f32, "cast", "hf")                            \
  X(square_sums, "square_sums", "ff")                     \
  X(adamw, "adamw", "ffffffff")                           \
  X(sgd, "sgd", "ffffff")                                 \
  X(accumulate, "accumulate", "fff")                      \
  X(causal_softmax, "causal_softmax", "ff")               \
  X(add_layer_norm, "add_layer_norm", "fffffff")          \
  X(add_rms_norm, "add_rms_norm", "ffffff")               \
  X(norm_grad_add, "norm_grad_add", "ffffff")             \
  X(bias_activation, "bias_activation", "fff")            \
  X(bias_activation_grad, "bias_activation_grad", "ffff") \
  X(rescale, "rescale", "fff")                            \
  X(blend, "blend", "ffff")                               \
  X(add_square, "add_square", "ffff")                     \
  X(root, "root", "fff")                                  \
  X(descend, "descend", "fffff")                          \
  X(add_bf16, "add", "hhh")                               \
  X(mul_bf16, "mul", "hhh")                               \
  X(relu_bf16, "relu", "hh")                              \
  X(gelu_bf16, "gelu", "hh")                              \
  X(silu_bf16, "silu", "hh")                              \
  X(silu_mul_bf16, "silu_mul", "hhh")                     \
  X(relu_grad_bf16, "relu_grad", "hhh")                   \
  X(gelu_grad_bf16, "gelu_grad", "hhh")                   \
  X(silu_grad_bf16, "silu_grad", "hhh")                   \
  X(sum_rows_bf16, "sum_rows", "hf")                      \
  X(layer_norm_bf16, "layer_norm", "fffh")                \
  X(rms_norm_bf16, "rms_norm", "ffh")                     \
  X(norm_grad_bf16, "norm_grad", "fffhf")                 \
  X(norm_grad_weight_bf16, "norm_grad_weight", "ffhf")

// What needs no vectors, or waits for memory anyway. No formats: any dense ones.
#define TERRACE_PLAIN_TRAINING_KERNELS(X)    \
  X(fill, "fill", "ff")                      \
  X(spread, "spread", "fff")                 \
  X(scatter_rows, "scatter_rows", "fiff")    \
  X(correct, "correct", "fif")               \
  X(cast_same, "cast", "ff")                 \
  X(with_gradient, "with_gradient", "")  \
  X(slice, "slice", "")                      \
  X(pad, "pad", "")                          \
  X(concat, "concat", "")                    \
  X(transpose, "transpose", "")              \
  X(split_heads, "split_heads", "")          \
  X(merge_heads, "merge_heads", "")          \
  X(patches, "patches", "")                  \
  X(fold, "fold", "ff")                      \
  X(mean_pool, "mean_pool", "ff")            \
  X(max_pool, "max_pool", "ff")              \
  X(mean_pool_grad, "mean_pool_grad", "fff") \
  X(max_pool_grad, "max_pool_grad", "fff")   \
  X(total, "total", "ff")                    \
  X(advance, "advance", "ii")                \
  X(learning_rate, "learning_rate", "if")    \
  X(clip, "clip", "fff")

inline constexpr int kTrainingKernels = 0 TERRACE_TRAINING_KERNELS(TERRACE_COUNT);
inline constexpr int kPlainTrainingKernels = 0 TERRACE_PLAIN_TRAINING_KERNELS(TERRACE_COUNT);

namespace portable {
TERRACE_PLAIN_TRAINING_KERNELS(TERRACE_DECLARE)
extern const ListedKernel kTraining[kTrainingKernels];
}  // namespace portable
namespace avx2 {
extern const ListedKernel kTraining[kTrainingKernels];
}
namespace avx512 {
extern const ListedKernel kTraining[kTrainingKernels];
}

void register_training_portable(KernelTable& table);
void register_training_avx2(KernelTable& table);
void register_training_avx512(KernelTable& table);

}  // namespace terrace
