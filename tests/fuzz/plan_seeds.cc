// Writes plans for fuzz_plan to begin with: fuzz_plan_seeds FOLDER. Made in the build, so that they follow the format.
#include <cstdio>
#include <fstream>

#include "fuzz/plan_subject.h"
#include "terrace/plan/plan_file.h"
#include "terrace/plan/planner/planner.h"

int main(int argc, char** argv) {
  using namespace terrace;
  if (argc != 2) return std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]), 2;
  const testing::PlanSubject s;
  int n = 0;
  const auto save = [&](const Plan& p) {
    std::ofstream f(argv[1] + ("/plan" + std::to_string(n++) + ".json"), std::ios::binary);
    f << plan_to_json(p, s.hand.graph);
    return f.good();
  };
  if (!save(s.by_hand)) return 1;
  PlanRequest r;
  r.weights = s.weights;
  r.files = s.by_hand.files;
  r.isa = Isa::reference;
  r.bodies = {{"decode", {{1, 1}, {0, 4}}, {1, 2}, 8, kNoSymbol}, {"prompt", {{1, 4}, {0, 4}}, {4, 0}, 4, 0}};
  const Bytes least = smallest_budget(s.hand.graph, s.machine, s.kernels, r);
  for (const Bytes more : {0_B, 4_KiB, 1_MiB}) {
    r.budget = {{0, least + more}};
    if (!save(make_plan(s.hand.graph, s.machine, s.kernels, r))) return 1;
  }
  return 0;
}
