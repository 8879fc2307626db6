// Pure cost functions of a machine: uncontended seconds and joules. Planner and simulator use the same ones.
#pragma once

#include <string_view>

#include "terrace/machine/machine.h"

namespace terrace {

/// What one step does, as far as its cost is concerned.
struct Work {
  std::string_view kernel;  ///< name of the kernel
  std::string_view op;      ///< its op
  std::string_view op_class;
  double flops = 0;
  Bytes read, written;      ///< in the unit's near tier
  bool single_row = false;  ///< one row of activations: matrix x vector
  int threads = 1;
};

/// Seconds of a compute step alone on the unit: overhead + max(flops / rate, bytes / stream).
/// Falls back kernel -> op -> class -> any rate of the unit; a unit without any rate is Error(bad_file).
Seconds compute_seconds(const Machine& m, UnitId unit, const Work& w);

/// Seconds of one transfer of `bytes` over a link with `depth` requests in flight (throughput share, not latency).
Seconds move_seconds(const Machine& m, LinkId link, Bytes bytes, int depth);

/// Bandwidth of a link at this block size and depth: the measured table, interpolated in log(block); else `rate`.
BytesPerSecond link_rate(const Machine& m, LinkId link, Bytes block, int depth);

/// Read bandwidth of a tier for a number of threads.
BytesPerSecond tier_read_rate(const Machine& m, TierId tier, int threads);

/// Joules of reading or writing bytes in a tier; nothing when unknown.
std::optional<double> access_joules(const Machine& m, TierId tier, Bytes read, Bytes written);
/// Joules of moving bytes over a link (the link itself; the tiers' accesses are separate).
std::optional<double> link_joules(const Machine& m, LinkId link, Bytes bytes);
/// Joules of arithmetic.
std::optional<double> compute_joules(const Machine& m, UnitId unit, const Work& w);

/// Bytes transferred when `bytes` at `offset` of a tier are read in whole granules.
Bytes transferred_bytes(const Machine& m, TierId tier, u64 offset, Bytes bytes);

}  // namespace terrace
