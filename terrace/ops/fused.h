// Ops that stand for several nodes: fusion passes (terrace/passes) put them where they find those. And the parts that
// AdamW falls into where it is not one op.
#pragma once

#include "terrace/graph/op_def.h"

namespace terrace::ops {

// Shapes: x [.., k] of real numbers, as in ops.h. What they compute, and where they round, is the composition.

/// add_layer_norm(a, b, weight [k], bias [k]) -> sum = a + b, layer_norm(sum, weight, bias), norm_stats(sum).
/// floats[0] = eps.
extern const OpDef add_layer_norm;
/// add_rms_norm(a, b, weight [k]) -> sum = a + b, rms_norm(sum, weight), norm_stats(sum) without the mean. floats[0] =
/// eps.
extern const OpDef add_rms_norm;
/// norm_grad_add(x, weight, stats, dy, more) -> more + norm_grad(x, weight, stats, dy). ints[0] as in norm_stats. No
/// gradient.
extern const OpDef norm_grad_add;

enum class Activation : std::uint8_t { relu, gelu, silu };
/// bias_activation(x, b [k]) -> f(x + b), f being the Activation ints[0].
extern const OpDef bias_activation;
/// bias_activation_grad(x, b [k], dy) -> dy f'(x + b). No gradient.
extern const OpDef bias_activation_grad;

// AdamW as frameworks without a fused one run it, a pass over memory each. All but `root` change their first input, a
// state. `rate` is that of ops::learning_rate.

/// rescale(x, rate) -> (floats[0] + floats[1] rate[0]) x.
extern const OpDef rescale;
/// blend(m, g, rate) -> m + (1 - floats[0]) (rate[3] g - m).
extern const OpDef blend;
/// add_square(v, g, rate) -> v + (1 - floats[0]) (rate[3] g)^2.
extern const OpDef add_square;
/// root(v, rate) -> sqrt(rate[2] v) + floats[0].
extern const OpDef root;
/// descend(w, m, d, rate) -> w - rate[0] rate[1] m / d.
extern const OpDef descend;

}  // namespace terrace::ops
