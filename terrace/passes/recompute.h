// Cheap results that the backward pass needs are computed again there, rather than kept.
#pragma once

#include <vector>

#include "terrace/passes/rewrite.h"

namespace terrace::passes {

/// Repeats of activations and results of norms that are read again long after: the second time from a copy of their
/// node, which stands before that reader. Only where all that the copy reads is there then anyway, so that it always
/// saves memory; results have the same bits. What is kept is never a copy. (Chen et al. 2016, arXiv 1604.06174.)
std::vector<Repeat> find_recomputed(const Uses& uses);

}  // namespace terrace::passes
