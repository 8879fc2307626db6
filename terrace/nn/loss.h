// The loss of language models and classifiers.
#pragma once

#include "terrace/graph/graph.h"

namespace terrace::nn {

/// Mean cross-entropy of logits [.., V] for targets i32 [..]: [1].
ValueId mean_cross_entropy(GraphBuilder& b, ValueId logits, ValueId targets);
/// The share of those targets whose logit is the largest: [1]. See ops::correct.
ValueId accuracy(GraphBuilder& b, ValueId logits, ValueId targets);

struct LinearCrossEntropy {
  bool x_trains = true, w_trains = true;  ///< whose gradients are wanted; neither: for evaluation
  i64 rows = 0;                           ///< of logits that exist at once; 0: chosen by the vocabulary
};
/// The same for logits x w^T, x [B, T, k], w [V, k], targets i32 [B, T], without the logits ever being there whole:
/// they are made for some rows at a time, and with them the gradients of x and w, so that the backward pass needs no
/// logits (Hsu et al. 2024, "Liger Kernel", arXiv 2410.10989, section 3.2).
ValueId linear_cross_entropy(GraphBuilder& b, ValueId x, ValueId w, ValueId targets,
                             const LinearCrossEntropy& options = {});

}  // namespace terrace::nn
