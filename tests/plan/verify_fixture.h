// A sound plan to break on purpose, and shorthands for its parts.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/hand_plan.h"
#include "terrace/plan/verify.h"

namespace terrace::testing {

inline std::string text(const std::vector<Finding>& findings) {
  std::string s;
  for (const Finding& f : findings) s += std::string(name_of(f.defect)) + ": " + f.what + "\n";
  return s;
}

class VerifyFixture : public ::testing::Test {
 protected:
  VerifyFixture() : plan(maker.make()), weights(maker.weights()), machine(hand_machine()) {}

  std::vector<Finding> check() const { return verify(maker.graph().graph, machine, plan, weights); }
  bool finds(Defect d) const {
    const auto findings = check();
    for (const Finding& f : findings)
      if (f.defect == d) return true;
    ADD_FAILURE() << "no " << name_of(d) << " among:\n" << text(findings);
    return false;
  }
  Body& prompt() { return plan.bodies[1]; }
  Step& step(u32 s) { return prompt().steps[s]; }
  Operand& read(u32 s, u32 i) { return prompt().operands[step(s).first_operand + i]; }
  Operand& write(u32 s) { return prompt().operands[step(s).first_operand + step(s).n_reads]; }
  Edge& edge(u32 s, u32 i) { return prompt().edges[step(s).first_edge + i]; }
  Placement& place(u32 p) { return plan.placements[p]; }
  static void drop(Body& b, u32 s, u32 i) {
    Edge* e = b.edges.data() + b.steps[s].first_edge;
    std::swap(e[i], e[b.steps[s].n_edges - 1]);
    --b.steps[s].n_edges;
  }
  /// Takes a step out of the prompt; indices and lifetimes follow.
  void erase_step(u32 s) {
    prompt().steps.erase(prompt().steps.begin() + s);
    for (Edge& e : prompt().edges)
      if (e.kind == Edge::done && e.of > s) --e.of;
    for (Placement& p : plan.placements)
      if (p.body == 1) {
        if (p.birth >= s && p.birth > 0) --p.birth;
        if (p.death >= s && p.death > 0) --p.death;
      }
  }

  HandPlanMaker maker;
  Plan plan;
  std::vector<Placement> weights;
  Machine machine;
};

}  // namespace terrace::testing
