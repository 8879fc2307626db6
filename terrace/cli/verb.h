// A verb of the tool: one row of the table that main.cc dispatches over.
#pragma once

#include <span>

#include "terrace/cli/args.h"

namespace terrace::cli {

struct Verb {
  const char* name;
  const char* help;                    ///< one line
  const char* usage;                   ///< what stands after "terrace NAME"
  const char* examples;                ///< whole lines
  std::span<const char* const> flags;  ///< names in the table of args.cc
  int (*run)(const Args& args);        ///< exit code; throws terrace::Error
};

extern const Verb kRun, kChat, kPlan, kSimulate, kEval, kLogits, kTokenize, kGraph, kInspect, kCheckFile, kProbe, kTopo,
    kMachine, kTrain, kExport, kBench;

inline constexpr const char* kVersion = "0.1.0";

}  // namespace terrace::cli
