// Values that training changes: their names, how they begin, and the optimizers that change them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "terrace/graph/graph.h"

namespace terrace::nn {

/// A state, and how it begins: normal numbers of this deviation, or, where it is 0, all the same.
struct Parameter {
  std::string name;
  ValueId value = kNone;  ///< the first version
  double deviation = 0, constant = 0;
  bool decays = true;  ///< weight decay applies: matrices, not biases and norms
};

/// The numbers that a parameter begins with: a function of seed, name and position alone (Philox4x32-10, Box-Muller).
void initialize(const Parameter& p, u64 seed, std::span<float> out);

/// AdamW with decoupled decay (Loshchilov & Hutter 2019), a linear warm-up and a cosine, and clipping by the global
/// norm.
struct AdamW {
  double rate = 1e-3, least_rate = 1e-4;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1;
  double clip = 0;  ///< largest global norm of the gradient; 0: none, then each tensor is updated as soon as it can be
  i64 warm_up = 0, steps = 1000;
  bool one_pass = true;  ///< false: in parts, each a pass over memory, as frameworks without a fused kernel have it
};

/// Stochastic gradient descent with momentum (as torch.optim.SGD has it, without dampening), and the same schedule and
/// clipping.
struct Sgd {
  double rate = 0.1, least_rate = 0.01;
  double momentum = 0.9, decay = 0;  ///< decay is added to the gradient
  double clip = 0;
  i64 warm_up = 0, steps = 1000;
};
using Optimizer = std::variant<AdamW, Sgd>;

/// What an optimizer added to a graph.
struct Update {
  ValueId loss = kNone;          ///< f32 [1]: mean over all parts
  ValueId squares = kNone;       ///< f32 [1]: square of the gradient's global norm, before clipping; kNone without
  ValueId rate = kNone;          ///< f32 [4]: see ops::learning_rate
  std::vector<ValueId> changed;  ///< last versions of all states: the goals of a training step
  std::vector<Parameter> moments;
};

/// The same after a pass over the graph: `to` says by old value what the new one is.
Update renumbered(Update update, std::span<const ValueId> to);
std::vector<Parameter> renumbered(std::span<const Parameter> parameters, std::span<const ValueId> to);

/// Appends gradients of `loss(part)` for part = 0 .. parts-1, averaged, and the update of every parameter. `step` is a
/// state i32 [1] that is advanced. With several parts (gradient accumulation) each is a pass forward and back of its
/// own.
Update add_optimizer(GraphBuilder& b, const std::function<ValueId(i64 part)>& loss, i64 parts,
                     std::span<const Parameter> parameters, ValueId step, const Optimizer& optimizer);
Update add_adamw(GraphBuilder& b, const std::function<ValueId(i64 part)>& loss, i64 parts,
                 std::span<const Parameter> parameters, ValueId step, const AdamW& options);

}  // namespace terrace::nn
