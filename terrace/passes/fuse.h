// Passes over a whole graph of training. Fusions: nodes whose results go through memory to the next, replaced by one
// that keeps them in the cache.
#pragma once

#include <span>
#include <string>

#include "terrace/passes/rewrite.h"

namespace terrace::passes {

/// In the order in which passes run:
///   residual_norm: add + layer_norm or rms_norm (+ norm_stats of the backward pass); norm_grad + add of the residual's
///     gradient
///   bias_activation: add_row + relu, gelu or silu; the activation's gradient then begins from what add_row took, and
///     the sum is never written
///   adamw: the parts of nn::AdamW in elementary form
///   recompute: see recompute.h
///
/// The graph after all passes but those named in `without` ("all": none run). Values in `keep`, and outputs, are there
/// afterwards. Throws Error(usage) for a name that is no pass.
Rewritten fuse(const Graph& graph, std::span<const std::string> without, std::span<const ValueId> keep);

}  // namespace terrace::passes
