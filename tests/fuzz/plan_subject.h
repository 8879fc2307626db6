// What plans are fuzzed for: the small graph of tests/support/hand_plan.h on a small machine.
#pragma once

#include "support/hand_plan.h"
#include "support/random_graph.h"
#include "terrace/kernels/kernel.h"

namespace terrace::testing {

struct PlanSubject {
  HandGraph hand;
  Machine machine = hand_machine();
  KernelTable kernels;
  Plan by_hand;
  std::vector<Placement> weights;  ///< in a file of by_hand.files[0].bytes

  PlanSubject() : hand(hand_graph()) {
    machine.tiers[0].capacity = 8_MiB;  // what a sound plan may make the engine allocate
    register_reference(kernels);
    HandPlanMaker maker;
    by_hand = maker.make();
    weights = maker.weights();
  }
};

}  // namespace terrace::testing
