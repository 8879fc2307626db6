#include "terrace/engine/trace.h"

namespace terrace {

std::string_view name_of(Provenance p) {
  switch (p) {
    case Provenance::measured: return "measured";
    case Provenance::predicted: return "predicted";
    case Provenance::simulated: return "simulated";
  }
  return "?";
}

Totals& Totals::operator+=(const Totals& o) {
  seconds += o.seconds;
  repetitions += o.repetitions;
  for (std::size_t t = 0; t < kMaxTiers; ++t) {
    read[t] += o.read[t];
    written[t] += o.written[t];
    transferred[t] += o.transferred[t];
  }
  compute_busy_seconds += o.compute_busy_seconds;
  io_wait_seconds += o.io_wait_seconds;
  known_joules += o.known_joules;
  steps_of_unknown_energy += o.steps_of_unknown_energy;
  return *this;
}

}  // namespace terrace
