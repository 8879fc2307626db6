// A plan of a small llama, as it streams at the smallest budget: without any edge that it needs it is refused.
#include <gtest/gtest.h>

#include "plan/needed_edges.h"
#include "support/planning.h"
#include "support/tiny_llama.h"
#include "support/tool.h"
#include "terrace/plan/verify.h"
#include "terrace/program/model.h"

namespace terrace {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStride = 20;  // sanitized code is an order slower
#else
constexpr std::size_t kStride = 1;
#endif

TEST(LlamaEdges, EveryEdgeIsNeededOrImplied) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "m.gguf";
  testing::write_tiny_llama(path, {});
  const Model model = open_model(path);
  const Graph graph = build_graph(model, {.context = 32, .max_tokens = 16});
  const Machine machine = testing::small_machine(4096);
  const KernelTable kernels = cpu_kernels(best_isa());
  PlanRequest r;
  r.weights = weight_places(graph, model, testing::kDisk);
  r.files = {{path, Bytes{model.file.size()}}};
  r.isa = best_isa();
  r.threads = 2;
  r.bodies = {{"decode", {{1, 1}, {0, 31}}, {1, 16}, 16, kNoSymbol}, {"prompt", {{1, 16}, {0, 31}}, {16, 0}, 16, 0}};
  r.budget = {{testing::kMemory, smallest_budget(graph, machine, kernels, r)}};
  Plan plan = make_plan(graph, machine, kernels, r);
  ASSERT_TRUE(verify(graph, machine, plan, r.weights).empty());
  for (const Edge::Kind kind : {Edge::done, Edge::released}) {
    const auto edges = testing::needed_edges(plan, kind);
    EXPECT_GT(edges.size(), kind == Edge::done ? 50u : 3u);
    for (std::size_t i = 0; i < edges.size(); i += kStride)
      testing::without(plan, edges[i], [&] {
        EXPECT_FALSE(verify(graph, machine, plan, r.weights).empty())
            << plan.bodies[edges[i].body].name << " step " << edges[i].step << " without an edge of kind " << kind;
      });
  }
}

}  // namespace
}  // namespace terrace
