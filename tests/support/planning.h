// A random graph with a machine, kernels and a request: what tests plan.
#pragma once

#include <optional>

#include "support/random_graph.h"
#include "terrace/kernels/kernel.h"
#include "terrace/plan/planner/planner.h"

namespace terrace::testing {

inline constexpr TierId kMemory = 0, kDisk = 1;

/// DRAM of 10 GB/s and a disk of 1 GB/s with 512-byte granules; a unit of 20 Gop/s a thread.
inline Machine small_machine(u64 granule = 512) {
  Machine m;
  m.name = "test";
  Tier dram;
  dram.id = "dram";
  dram.kind = "dram";
  dram.capacity = 1_GiB;
  dram.read = dram.write = BytesPerSecond{10e9};
  Tier disk = dram;
  disk.id = "disk";
  disk.kind = "nvme";
  disk.persistent = true;
  disk.granule = Bytes{granule};
  disk.capacity = 64_GiB;
  disk.read = disk.write = BytesPerSecond{1e9};
  m.tiers = {dram, disk};
  m.links = {{kDisk, kMemory, BytesPerSecond{1e9}, Seconds{1e-4}, {}, {}, {}}};
  Unit cpu;
  cpu.id = "cpu";
  cpu.kind = "simd";
  cpu.near = kMemory;
  cpu.threads = 2;
  cpu.step_overhead = Seconds{1e-6};
  for (const char* c : {"contraction", "attention", "normalisation", "elementwise", "data_movement"})
    for (int t : {1, 2}) cpu.rates.push_back({c, t, OpsPerSecond{20e9 * t}, {}, {}, {}});
  m.units = {cpu};
  return m;
}

/// Bodies "prompt" (n up to its bound, 3 x that many tokens in all) and "decode" (n = 1, 50 times).
struct Case {
  Graph graph;
  Machine machine;
  KernelTable kernels;
  PlanRequest request;

  explicit Case(u64 seed, u64 granule = 512) : graph(random_graph(seed)), machine(small_machine(granule)) {
    register_reference(kernels);
    WeightFile f = weight_file(graph, seed, kDisk);
    request.weights = std::move(f.weights);
    request.files = {{"weights.bin", Bytes{f.bytes.size()}}};
    request.isa = Isa::reference;
    request.threads = 1 + static_cast<int>(seed % 2);
    const auto max = graph.symbol_bounds();
    request.reserves = {{"process", kMemory, 100_KiB, "made up"}};
    request.bodies = {{"decode", {{1, 1}, {0, max[1]}}, {1, max[1] / 2}, 50, kNoSymbol},
                      {"prompt", {{1, max[0]}, {0, max[1]}}, {max[0], 0}, 3.0 * static_cast<double>(max[0]), 0}};
  }
  Plan plan_within(std::optional<u64> budget) {
    request.budget.clear();
    if (budget) request.budget = {{kMemory, Bytes{*budget}}};
    return make_plan(graph, machine, kernels, request);
  }
};

}  // namespace terrace::testing
