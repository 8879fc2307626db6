// The table after a run, and the same as JSON.
#pragma once

#include <string>

#include "terrace/cli/enforce.h"
#include "terrace/cli/json.h"
#include "terrace/cli/peak.h"
#include "terrace/program/text_model.h"

namespace terrace::cli {

/// How much memory there may be, was told and was used.
struct MemoryReport {
  Bytes budget;
  bool budget_given = false;
  Enforcement enforcement;
  Peak peak;
};

/// "prefill" or "decode" of the contract. `told`: seconds are the simulator's, there is nothing measured.
Json phase_json(const Phase& phase, const Machine& machine, bool told = false);
/// Adds budget_bytes, peak_bytes and their like.
void add_memory(Json& doc, const MemoryReport& m, TextModel& model);

/// Time, bytes and memory of a generation; at most 100 columns. `told` as above.
std::string report_text(TextModel& model, const GenerateResult& r, const MemoryReport* memory, bool told = false);
/// Bytes of pinned weights that loading reads.
Bytes pinned_bytes(const Plan& plan);

}  // namespace terrace::cli
