// What happened, or would: one record a step. Predicted, simulated and measured traces have this one type.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "terrace/core/units.h"

namespace terrace {

enum class Provenance : std::uint8_t { measured, predicted, simulated };
std::string_view name_of(Provenance p);
inline constexpr int kMaxTiers = 8;

struct StepRecord {
  u32 step = 0;
  double start = 0, end = 0;  ///< seconds since the repetition began; a prefetched Move may start before 0
  Bytes payload;              ///< bytes read and written by a Compute, or moved
  Bytes transferred;          ///< of a Move, with whole granules and retries
};

/// Sums over steps. Energy is what is known, and how many steps had an unknown part.
struct Totals {
  double seconds = 0;
  i64 repetitions = 0;
  std::array<Bytes, kMaxTiers> read{}, written{};  ///< payload by tier
  std::array<Bytes, kMaxTiers> transferred{};      ///< by tier read from, Moves only
  double compute_busy_seconds = 0, io_wait_seconds = 0;
  Joules known_joules;
  i64 steps_of_unknown_energy = 0;
  Totals& operator+=(const Totals& o);
};

struct Trace {
  Provenance provenance = Provenance::measured;
  u32 body = 0;
  std::vector<StepRecord> records;  ///< in step order
  Totals totals;
};

}  // namespace terrace
