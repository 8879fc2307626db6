// Cheap results that the backward pass needs are computed again there, rather than kept.
#pragma once

#include <span>

#include "terrace/passes/rewrite.h"

namespace terrace::passes {

/// Activations and results of norms that are read again long after: the second time from a copy of their node, which
/// stands before that reader. Only where all that the copy reads is there then anyway, so that it always saves memory;
/// results have the same bits. Values in `keep`, and outputs, are never copies. (Chen et al. 2016, arXiv 1604.06174.)
Rewritten recompute(const Graph& graph, std::span<const ValueId> keep);

}  // namespace terrace::passes
