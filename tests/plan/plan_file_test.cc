// Plans as JSON and as text.
#include "terrace/plan/plan_file.h"

#include <gtest/gtest.h>

#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

using testing::Case;

Plan streaming_plan(Case& c) {
  return c.plan_within(smallest_budget(c.graph, c.machine, c.kernels, c.request).count + (20 << 10));
}

TEST(PlanFile, round_trips_exactly) {
  for (u64 seed = 0; seed < 20; ++seed) {
    Case c(seed);
    const Plan p = streaming_plan(c);
    const std::string json = plan_to_json(p, c.graph);
    const Plan q = plan_from_json(json, "test");
    EXPECT_EQ(plan_to_json(q, c.graph), json);
    EXPECT_EQ(to_text(q, c.graph, true), to_text(p, c.graph, true));
    EXPECT_TRUE(verify(c.graph, c.machine, q, c.request.weights).empty());
    ASSERT_EQ(q.bodies.size(), p.bodies.size());
    for (std::size_t b = 0; b < p.bodies.size(); ++b)
      for (std::size_t s = 0; s < p.bodies[b].steps.size(); ++s)
        EXPECT_EQ(q.bodies[b].steps[s].seconds.value, p.bodies[b].steps[s].seconds.value);
  }
}

TEST(PlanFile, every_cut_is_refused) {
  Case c(3);
  const std::string json = plan_to_json(streaming_plan(c), c.graph);
  for (std::size_t n = 0; n + 2 < json.size(); n += 997)
    EXPECT_THROW(plan_from_json(std::string_view(json).substr(0, n), "cut"), Error) << n;
}

/// Altered characters either fail or give a plan that can be shown and checked.
TEST(PlanFile, altered_text_never_crashes) {
  Case c(5);
  const std::string json = plan_to_json(streaming_plan(c), c.graph);
  testing::Random r(1);
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    std::string t = json;
    t[static_cast<std::size_t>(r.below(static_cast<i64>(t.size())))] = "0987-[]{},\"ne"[r.below(13)];
    try {
      verify(c.graph, c.machine, plan_from_json(t, "altered"), c.request.weights);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      ++refused;
    }
  }
  EXPECT_GT(refused, 30);
}

TEST(PlanFile, wrong_types_and_ranges_are_named) {
  Case c(5);
  const std::string json = plan_to_json(streaming_plan(c), c.graph);
  auto refused = [&](const std::string& from, const std::string& to, const std::string& named) {
    std::string t = json;
    const auto at = t.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    t.replace(at, from.size(), to);
    try {
      plan_from_json(t, "broken.json");
      ADD_FAILURE() << from << " as " << to;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file);
      EXPECT_NE(e.where().find(named), std::string::npos) << e.what();
      EXPECT_NE(e.where().find("broken.json"), std::string::npos) << e.what();
    }
  };
  refused("\"granule\":512", "\"granule\":0", "granule");
  refused("\"granule\":512", "\"granule\":-512", "granule");
  refused("\"granule\":512", "\"granule\":1e400", "");
  refused("\"workers\":", "\"workers\":9999", "workers");
  refused("\"use\":", "\"use\":7", "placements[0].use");
  refused("\"lane\":\"io\"", "\"lane\":\"bus\"", "lane");
  refused("\"pad\":[", "\"pad\":[1,", "pad");
  refused("\"once\":true", "\"once\":1", "once");
  refused("\"seconds\":", "\"seconds\":-", "seconds");
  refused("\"birth\":", "\"death_\":1,\"birth\":", "placements[0]");
  EXPECT_THROW(plan_from_json(std::string(1 << 20, '['), "deep"), Error);
  EXPECT_THROW(plan_from_json("{}", "empty"), Error);
}

TEST(PlanText, names_every_use_and_adds_up) {
  Case c(2);
  const Plan p = streaming_plan(c);
  const std::string t = to_text(p, c.graph, false);
  for (const char* word :
       {"weights", "ring", "state", "inputs", "activations", "page tables", "process", "total", "budget", "unaccounted",
        "in file, streamed", "disk", "body load", "body prompt", "body decode", "smallest budget"})
    EXPECT_NE(t.find(word), std::string::npos) << word << "\n" << t;
  EXPECT_LT(t.size(), to_text(p, c.graph, true).size() / 4);
}

}  // namespace
}  // namespace terrace
