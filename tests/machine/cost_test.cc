// Costs, worked out by hand.
#include "terrace/machine/cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "terrace/core/error.h"

namespace terrace {
namespace {

Machine machine() {
  Machine m;
  Tier dram;
  dram.id = "dram";
  dram.read = BytesPerSecond{40e9};
  dram.read_Bps_by_threads = {30e9, 40e9};
  dram.energy.read_pj_per_bit = 4;
  Tier disk;
  disk.id = "disk";
  disk.persistent = true;
  disk.granule = Bytes{512};
  m.tiers = {dram, disk};
  Link l;
  l.from = 1, l.to = 0, l.rate = BytesPerSecond{3e9};
  l.rates = {{Bytes{4096}, 1, BytesPerSecond{1e8}},
             {Bytes{1 << 20}, 1, BytesPerSecond{2e9}},
             {Bytes{4096}, 4, BytesPerSecond{3e8}},
             {Bytes{1 << 20}, 4, BytesPerSecond{3e9}}};
  m.links = {l};
  Unit u;
  u.id = "cpu", u.near = 0, u.threads = 4, u.step_overhead = Seconds{1e-6};
  u.rates = {{"linear.x", 1, OpsPerSecond{10e9}, OpsPerSecond{4e9}, BytesPerSecond{20e9}, 2.0},
             {"linear.x", 3, OpsPerSecond{30e9}, OpsPerSecond{8e9}, BytesPerSecond{36e9}, 2.0},
             {"linear", 2, OpsPerSecond{5e9}, {}, {}, {}},
             {"elementwise", 2, OpsPerSecond{2e9}, {}, {}, {}}};
  m.units = {u};
  return m;
}

Work work(std::string_view kernel, double flops, u64 bytes, bool single, int threads) {
  Work w;
  w.kernel = kernel, w.op = kernel.substr(0, kernel.find('.')), w.op_class = "contraction";
  w.flops = flops, w.read = Bytes{bytes}, w.single_row = single, w.threads = threads;
  return w;
}

TEST(Cost, ComputeIsOverheadPlusTheSlowerOfArithmeticAndTraffic) {
  const Machine m = machine();
  // 1e6 operations at 10e9/s: 100 us; 20e3 bytes at 20e9/s: 1 us.
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 1e6, 20000, false, 1)).value, 101e-6);
  // One row: 4e9/s.
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 1e6, 20000, true, 1)).value, 251e-6);
  // 4e6 bytes at 20e9/s: 200 us.
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 1e6, 4000000, false, 1)).value, 201e-6);
  Work w = work("linear.x", 0, 2000000, false, 1);
  w.written = Bytes{2000000};
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, w).value, 201e-6);
}

TEST(Cost, ThreadsBetweenMeasurementsAreInterpolated) {
  const Machine m = machine();
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 1e6, 0, false, 2)).value, 1e-6 + 1e6 / 20e9);
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 1e6, 0, true, 2)).value, 1e-6 + 1e6 / 6e9);
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 0, 28000, false, 2)).value, 2e-6);
  // No more than was measured beyond the last, in proportion below the first.
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.x", 1e6, 0, false, 8)).value, 1e-6 + 1e6 / 30e9);
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.y", 1e6, 0, false, 1)).value, 1e-6 + 1e6 / 2.5e9);
}

TEST(Cost, FallsBackFromKernelToOpToClassToAnything) {
  const Machine m = machine();
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.y", 5e6, 0, false, 2)).value, 1001e-6);
  // Without vector_peak one row is as fast; without stream the tier's own 40e9/s counts.
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.y", 5e6, 0, true, 2)).value, 1001e-6);
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, work("linear.y", 0, 40000, true, 2)).value, 2e-6);
  Work w = work("add", 2e6, 0, false, 2);
  w.op_class = "elementwise";
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, w).value, 1001e-6);
  w.op_class = "attention";  // nothing fits: the unit's first
  EXPECT_DOUBLE_EQ(compute_seconds(m, 0, w).value, 1e-6 + 2e6 / 20e9);
  Machine bare = m;
  bare.units[0].rates.clear();
  EXPECT_THROW(compute_seconds(bare, 0, w), Error);
  bare = m;
  bare.units[0].rates = {{"linear", 2, {}, {}, {}, {}}};
  EXPECT_THROW(compute_seconds(bare, 0, work("linear.y", 1, 0, false, 2)), Error);
}

TEST(Cost, LinkRateFollowsTheTable) {
  const Machine m = machine();
  EXPECT_DOUBLE_EQ(link_rate(m, 0, Bytes{4096}, 1).value, 1e8);
  EXPECT_DOUBLE_EQ(link_rate(m, 0, Bytes{1 << 20}, 4).value, 3e9);
  // 64 KiB is half way from 4 KiB to 1 MiB in the logarithm (the geometric mean), depth 2 half way from 1 to 4.
  EXPECT_DOUBLE_EQ(link_rate(m, 0, Bytes{65536}, 1).value, std::sqrt(1e8 * 2e9));
  EXPECT_DOUBLE_EQ(link_rate(m, 0, Bytes{1 << 20}, 2).value, 2.5e9);
  EXPECT_DOUBLE_EQ(link_rate(m, 0, Bytes{1}, 1).value, 1e8);
  EXPECT_DOUBLE_EQ(link_rate(m, 0, Bytes{1 << 30}, 100).value, 3e9);
  Machine plain = m;
  plain.links[0].rates.clear();
  EXPECT_DOUBLE_EQ(link_rate(plain, 0, Bytes{1}, 1).value, 3e9);
}

TEST(Cost, MoveSecondsGrowWithBytes) {
  const Machine m = machine();
  EXPECT_EQ(move_seconds(m, 0, Bytes{}, 4).value, 0);
  EXPECT_DOUBLE_EQ(move_seconds(m, 0, Bytes{3 << 20}, 4).value, (3 << 20) / 3e9);
  for (int depth : {1, 2, 4, 9})
    for (u64 n = 4096; n < (8 << 20); n *= 2) {
      EXPECT_LE(move_seconds(m, 0, Bytes{n}, depth), move_seconds(m, 0, Bytes{2 * n}, depth));
      EXPECT_LE(link_rate(m, 0, Bytes{n}, depth), link_rate(m, 0, Bytes{2 * n}, depth));
      EXPECT_LE(link_rate(m, 0, Bytes{n}, depth), link_rate(m, 0, Bytes{n}, depth + 1));
    }
}

TEST(Cost, EnergyIsUnknownWhereACoefficientIs) {
  const Machine m = machine();
  EXPECT_DOUBLE_EQ(access_joules(m, 0, Bytes{1000}, Bytes{}).value(), 1000 * 8 * 4e-12);
  EXPECT_FALSE(access_joules(m, 0, Bytes{1000}, Bytes{1}));
  EXPECT_FALSE(access_joules(m, 1, Bytes{1}, Bytes{}));
  EXPECT_EQ(access_joules(m, 1, Bytes{}, Bytes{}), 0.0);
  EXPECT_FALSE(link_joules(m, 0, Bytes{1}));
  EXPECT_DOUBLE_EQ(compute_joules(m, 0, work("linear.x", 1e6, 0, false, 1)).value(), 2e-6);
  EXPECT_FALSE(compute_joules(m, 0, work("linear.y", 1e6, 0, false, 2)));
}

TEST(Cost, TransfersAreWholeGranules) {
  const Machine m = machine();
  EXPECT_EQ(transferred_bytes(m, 1, 0, Bytes{512}), Bytes{512});
  EXPECT_EQ(transferred_bytes(m, 1, 1, Bytes{512}), Bytes{1024});
  EXPECT_EQ(transferred_bytes(m, 1, 511, Bytes{2}), Bytes{1024});
  EXPECT_EQ(transferred_bytes(m, 1, 700, Bytes{100}), Bytes{512});
  EXPECT_EQ(transferred_bytes(m, 1, 700, Bytes{}), Bytes{});
}

TEST(Cost, ReadRateByThreads) {
  const Machine m = machine();
  EXPECT_EQ(tier_read_rate(m, 0, 1), BytesPerSecond{30e9});
  EXPECT_EQ(tier_read_rate(m, 0, 2), BytesPerSecond{40e9});
  EXPECT_EQ(tier_read_rate(m, 0, 64), BytesPerSecond{40e9});
  EXPECT_EQ(tier_read_rate(m, 1, 3), m.tiers[1].read);
}

}  // namespace
}  // namespace terrace
