// What hardware there is: tiers, links between them, units bound to them. Data, loaded from TOML.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/units.h"

namespace terrace {

using TierId = std::uint16_t;
using LinkId = std::uint16_t;
using UnitId = std::uint16_t;
inline constexpr std::uint16_t kNoTier = 0xffff;

/// Where a number comes from.
struct Source {
  std::string id, cite;
  std::string status;  ///< measured | published | vendor | derived | recalled
};

/// Picojoule a bit, by direction; absent = unknown, never zero.
struct AccessEnergy {
  std::optional<double> read_pj_per_bit, write_pj_per_bit;
};

/// A store. `hardware` tiers (caches) are described, not planned.
struct Tier {
  std::string id;           ///< "dram", "disk", "hbm"
  std::string kind;         ///< sram | dram | hbm | cxl | nvme
  bool hardware = false;    ///< managed by hardware: no placements
  bool persistent = false;  ///< a file system: files live here
  Bytes capacity;
  int instances = 1;           ///< e.g. one L2 a core
  BytesPerSecond read, write;  ///< all readers together
  /// Read bandwidth by number of threads (entry t-1), where measured; else empty.
  std::vector<double> read_Bps_by_threads;
  Seconds latency;    ///< of one access of a granule, idle
  Bytes granule{64};  ///< smallest transfer; a disk's direct-I/O alignment
  AccessEnergy energy;
  std::string source;
};

/// Measured throughput of a link at one block size and queue depth.
struct LinkRate {
  Bytes block;
  int depth = 1;
  BytesPerSecond rate;
};

/// A path along which a Move goes, from tier `from` to tier `to` (a file read is disk -> dram).
struct Link {
  TierId from = kNoTier, to = kNoTier;
  BytesPerSecond rate;          ///< best
  Seconds latency;              ///< of one request
  std::vector<LinkRate> rates;  ///< by block and depth, where measured
  std::optional<double> pj_per_bit;
  std::string source;
};

/// Speed of one kernel (or op class) on a unit, at a number of threads.
struct UnitRate {
  std::string kernel;  ///< exact kernel name ("linear.q8a.q4_1.avx2"), an op ("linear"), or a class ("contraction")
  int threads = 1;
  OpsPerSecond peak;         ///< operands in cache, many rows of activations (matrix x matrix)
  OpsPerSecond vector_peak;  ///< operands in cache, one row of activations; zero = the same as peak
  BytesPerSecond stream;     ///< operands from the near tier; zero = the tier's own bandwidth
  std::optional<double> pj_per_op;
};

struct Unit {
  std::string id;         ///< "cpu"
  std::string kind;       ///< simd | systolic | tensor | pim_simd | ...
  TierId near = kNoTier;  ///< the tier whose placements it computes on
  int threads = 1;
  Seconds step_overhead;  ///< of one step, synchronisation included
  std::vector<UnitRate> rates;
  std::string source;
};

struct Machine {
  std::string name, processor, notes;
  std::vector<Source> sources;
  std::vector<Tier> tiers;
  std::vector<Link> links;
  std::vector<Unit> units;
  std::optional<double> idle_w, tdp_w;

  const Tier& tier(TierId t) const { return tiers[t]; }
  std::optional<TierId> find_tier(std::string_view id) const;
  /// The software-managed, volatile tier that unit 0 computes on.
  TierId main_memory() const { return units.at(0).near; }
  /// The persistent tier that files are read from; none on a machine without one.
  std::optional<TierId> file_tier() const;
  std::optional<LinkId> find_link(TierId from, TierId to) const;
};

}  // namespace terrace
