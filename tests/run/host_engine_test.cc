#include "terrace/run/host_engine.h"

#include <gtest/gtest.h>

#include "run/hand_plan.h"
#include "support/allocations.h"
#include "terrace/core/error.h"
#include "terrace/engine/interpreter.h"
#include "terrace/sim/sim_engine.h"

namespace terrace::testing {
namespace {

std::string folder() { return TERRACE_BINARY_DIR; }

struct Net {
  explicit Net(u64 seed)
      : graph(random_graph(seed)),
        weights(weight_file(graph, seed, kDisk)),
        kernels(cpu_kernels(best_isa())),
        file(weights.bytes, folder(), "weights" + std::to_string(seed)) {}
  Plan plan(HandOptions o) const { return HandPlanner(graph, weights, file.path(), kernels, o).make(); }
  Graph graph;
  WeightFile weights;
  KernelTable kernels;
  TemporaryFile file;
};

void load(HostEngine& e, const Plan& p) { e.run(p.find_body("load"), {}); }

/// A prompt, then single tokens, then a second prompt after a reset: all bytes of all outputs.
std::vector<std::vector<std::byte>> story(const Net& net, const Plan& p, HostEngine& e) {
  std::vector<std::vector<std::byte>> all;
  auto step = [&](const char* body, i64 n, i64 pos) {
    const Inputs in(net.graph, {n, pos}, static_cast<u64>(n * 1000 + pos));
    e.run(p.find_body(body), in.bindings());
    for (ValueId v : net.graph.outputs()) {
      const TensorView t = e.output(v);
      all.emplace_back(t.data, t.data + packed_bytes(t).count);
    }
  };
  const i64 n = net.graph.symbols()[0].max;
  step("prompt", n, 0);
  for (i64 i = 0; i < 3; ++i) step("decode", 1, std::min(net.graph.symbols()[1].max, n + i));
  e.reset_state();
  step("prompt", n - 1, 0);
  step("decode", 1, n - 1);
  return all;
}

std::vector<std::vector<std::byte>> story(const Net& net, HandOptions o, HostOptions h = {}) {
  const Plan p = net.plan(o);
  HostEngine e(net.graph, p, net.kernels, std::move(h));
  load(e, p);
  return story(net, p, e);
}

TEST(HostEngine, SameBitsWhateverIsPinnedStreamedOrGathered) {
  for (u64 seed = 0; seed < 25; ++seed) {
    const Net net(seed);
    const auto expected = story(net, {});
    for (int percent : {30, 60, 100})
      for (int workers : {1, 2})
        for (IoMode io : {IoMode::automatic, IoMode::pread}) {
          HandOptions o;
          o.streamed_percent = percent;
          o.workers = workers;
          o.gather = percent != 60;
          o.ring_slots = 2 + percent / 30;
          HostOptions h;
          h.io = io;
          h.direct = percent != 30 || io != IoMode::pread;
          ASSERT_EQ(story(net, o, h), expected) << "seed " << seed << ", " << percent << " %, workers " << workers;
        }
  }
}

TEST(HostEngine, AnotherLegalOrderGivesTheSameBits) {
  for (u64 seed = 0; seed < 10; ++seed) {
    const Net net(seed);
    HandOptions o;
    o.permute = seed + 1;
    o.workers = 2;
    EXPECT_EQ(story(net, o), story(net, {})) << seed;
  }
}

TEST(HostEngine, AgreesWithTheInterpreter) {
  for (u64 seed = 0; seed < 25; ++seed) {
    const Net net(seed);
    HandOptions o;
    o.streamed_percent = 60;
    o.gather = true;
    o.workers = 2;
    const Plan p = net.plan(o);
    HostEngine e(net.graph, p, net.kernels);
    load(e, p);
    Interpreter oracle(net.graph, net.kernels,
                       [&](ValueId v) { return random_weight(net.graph.value(v).spec, seed * 1000003 + v); });
    for (i64 pos : {0, 4, 5}) {
      const Inputs in(net.graph, {pos == 0 ? 4 : 1, pos}, static_cast<u64>(pos) + 77);
      e.run(p.find_body(pos == 0 ? "prompt" : "decode"), in.bindings());
      oracle.run(in.bindings());
      for (ValueId v : net.graph.outputs()) {
        const TensorView t = e.output(v);
        const auto b = oracle.bytes(v);
        ASSERT_EQ(b.size(), packed_bytes(t).count);
        double worst = 0, size = 1e-3;
        for (std::size_t i = 0; i + 4 <= b.size(); i += 4) {
          float x, y;
          std::memcpy(&x, t.data + i, 4);
          std::memcpy(&y, b.data() + i, 4);
          worst = std::max(worst, static_cast<double>(std::fabs(x - y)));
          size = std::max(size, static_cast<double>(std::fabs(y)));
        }
        // An 8-bit rounding that falls the other way costs a step of 1/127 of a block's largest element.
        EXPECT_LE(worst / size, 0.03) << "seed " << seed << ", pos " << pos << ", " << net.graph.value(v).name;
      }
    }
  }
}

TEST(HostEngine, SteadyStateAllocatesNothing) {
  const Net net(3);
  for (IoMode io : {IoMode::automatic, IoMode::pread}) {
    HandOptions o;
    o.streamed_percent = 100;
    o.gather = true;
    o.workers = 2;
    const Plan p = net.plan(o);
    HostOptions h;
    h.io = io;
    HostEngine e(net.graph, p, net.kernels, h);
    load(e, p);
    const u32 prompt = p.find_body("prompt"), decode = p.find_body("decode");
    const Inputs first(net.graph, {4, 0}, 1), a(net.graph, {1, 4}, 1), b(net.graph, {1, 5}, 1);
    e.run(prompt, first.bindings());
    e.run(decode, a.bindings());
    const long before = allocations();
    e.run(decode, b.bindings());
    e.run(prompt, first.bindings());
    e.run(decode, a.bindings());
    EXPECT_EQ(allocations() - before, 0);
  }
}

TEST(HostEngine, AnErrorAtAnyRequestIsAnErrorAndNothingElse) {
  const Net net(5);
  HandOptions o;
  o.streamed_percent = 60;
  o.gather = true;
  o.workers = 2;
  const Plan p = net.plan(o);
  const Inputs in(net.graph, {4, 0}, 1);
  int failures = 0;
  for (u64 nth = 1; nth < 200; nth += nth < 20 ? 1 : 17) {
    HostOptions h;
    h.io = nth % 2 ? IoMode::automatic : IoMode::pread;
    h.fault = [nth](u64 request) { return request == nth ? EIO : 0; };
    HostEngine e(net.graph, p, net.kernels, h);
    try {
      load(e, p);
      for (int i = 0; i < 3; ++i) e.run(p.find_body("prompt"), in.bindings());
    } catch (const Error& error) {
      ++failures;
      EXPECT_EQ(error.kind(), ErrorKind::failure);
      EXPECT_NE(error.where().find(net.file.path()), std::string::npos);
      EXPECT_THROW(e.run(p.find_body("prompt"), in.bindings()), Error);
    }
  }
  EXPECT_GT(failures, 20);
}

TEST(HostEngine, ShortAndInterruptedReadsAreContinued) {
  const Net net(6);
  HandOptions o;
  o.streamed_percent = 60;
  o.gather = true;
  HostOptions h;
  h.fault = [](u64 n) { return n % 5 == 0 ? EINTR : n % 3 == 0 ? -700 : n % 7 == 0 ? -100 : 0; };
  EXPECT_EQ(story(net, o, h), story(net, {}));
}

TEST(HostEngine, AFileThatShrinksIsNoticed) {
  const Net net(7);
  HandOptions o;
  o.streamed_percent = 100;
  const Plan p = net.plan(o);
  HostEngine e(net.graph, p, net.kernels);
  load(e, p);
  std::filesystem::resize_file(net.file.path(), 512);
  const Inputs in(net.graph, {4, 0}, 1);
  try {
    for (int i = 0; i < 4; ++i) e.run(p.find_body("prompt"), in.bindings());
    FAIL() << "nothing was noticed";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("changed while in use"), std::string::npos) << error.what();
  }
}

TEST(HostEngine, CancelEndsCleanly) {
  const Net net(8);
  HandOptions o;
  o.streamed_percent = 100;
  o.workers = 2;
  const Plan p = net.plan(o);
  std::atomic<bool> cancel{false};
  HostOptions h;
  h.cancel = &cancel;
  HostEngine e(net.graph, p, net.kernels, h);
  load(e, p);
  const Inputs in(net.graph, {4, 0}, 1);
  e.run(p.find_body("prompt"), in.bindings());
  cancel = true;
  try {
    e.run(p.find_body("prompt"), in.bindings());
    FAIL();
  } catch (const Error& error) { EXPECT_EQ(error.kind(), ErrorKind::interrupted); }
}

TEST(HostEngine, ACallersMistakeChangesNothing) {
  const Net net(9);
  const Plan p = net.plan({});
  HostEngine e(net.graph, p, net.kernels);
  const u32 prompt = p.find_body("prompt");
  const Inputs good(net.graph, {4, 0}, 1);
  EXPECT_THROW(e.run(prompt, good.bindings()), Error);  // not loaded
  load(e, p);
  Inputs bad(net.graph, {4, 0}, 1);
  const i32 id = 1 << 30;
  std::memcpy(bad.bytes[0].data() + 8, &id, 4);
  EXPECT_THROW(e.run(prompt, bad.bindings()), Error);
  EXPECT_THROW(e.run(prompt, Bindings{good.symbols, {}}), Error);
  const std::vector<i64> outside{4, 1000};
  EXPECT_THROW(e.run(prompt, Bindings{outside, good.bound}), Error);
  EXPECT_THROW(e.run(p.find_body("decode"), good.bindings()), Error);  // four rows
  EXPECT_NO_THROW(e.run(prompt, good.bindings()));
  Plan other = p;
  other.kernels[0] = "no such kernel";
  EXPECT_THROW(HostEngine(net.graph, other, net.kernels), Error);
  other = p;
  other.files[0].bytes += Bytes{1};
  EXPECT_THROW(HostEngine(net.graph, other, net.kernels), Error);
}

TEST(Engines, BothEmitTheSameStepsAndPayloads) {
  Machine m;
  m.name = "hand";
  m.tiers.resize(2);
  m.tiers[0].id = "dram";
  m.tiers[0].read = m.tiers[0].write = BytesPerSecond{30e9};
  m.tiers[1].id = "disk";
  m.tiers[1].persistent = true;
  m.tiers[1].read = m.tiers[1].write = BytesPerSecond{2e9};
  m.links.push_back({});
  m.links[0].from = 1;
  m.links[0].to = 0;
  m.links[0].rate = BytesPerSecond{2e9};
  m.links[0].latency = Seconds{100e-6};
  m.units.push_back({});
  m.units[0].near = 0;
  m.units[0].rates.push_back({"linear", 1, OpsPerSecond{50e9}, OpsPerSecond{}, BytesPerSecond{}, std::nullopt});
  for (u64 seed = 0; seed < 20; ++seed) {
    const Net net(seed);
    HandOptions o;
    o.streamed_percent = static_cast<int>(seed * 5);
    o.gather = seed % 2;
    const Plan p = net.plan(o);
    HostEngine host(net.graph, p, net.kernels);
    SimEngine sim(net.graph, m, p);
    auto compare = [&](u32 body, const Bindings& b) {
      const Trace &x = host.run(body, b), &y = sim.run(body, b);
      ASSERT_EQ(x.records.size(), y.records.size());
      for (std::size_t i = 0; i < x.records.size(); ++i) {
        EXPECT_EQ(x.records[i].step, y.records[i].step);
        EXPECT_EQ(x.records[i].payload, y.records[i].payload) << i;
        EXPECT_GE(x.records[i].end, x.records[i].start);
        EXPECT_GE(y.records[i].end, y.records[i].start);
      }
      EXPECT_EQ(x.totals.read, y.totals.read);
      EXPECT_EQ(x.totals.written, y.totals.written);
    };
    const Inputs prompt(net.graph, {4, 0}, 1), a(net.graph, {1, 4}, 2), b(net.graph, {1, 5}, 3);
    compare(p.find_body("load"), {});
    compare(p.find_body("prompt"), prompt.bindings());
    compare(p.find_body("decode"), a.bindings());
    compare(p.find_body("decode"), b.bindings());
  }
}

}  // namespace
}  // namespace terrace::testing
