// A verb of the tool: one row of the table that main.cc dispatches over.
#pragma once

#include <span>

#include "terrace/cli/args.h"

namespace terrace::cli {

/// One whose `run` is null is another program's: see hands_over.
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

inline constexpr const char
    *kTrainHelp = "train a model as a configuration says",
    *kExportHelp = "write what a training run made for other programs",
    *kBenchHelp = "measure: the bytes that attention moves across a cache; where a training step's time goes",
    *kProbeHelp = "measure this machine and keep its description";

/// What training and measuring need, their kernels above all, lives in a program of its own, terrace-train, beside this
/// one: it would count against every budget. `terrace` becomes that program, with the same arguments, for their verbs
/// and for checkpoints; in terrace-train itself nothing happens. Error(failure) where it is not there.
void hand_over(const Verb& verb, char** argv);
/// `terrace run` of a checkpoint of `terrace train`: a model of characters, held in memory.
int run_checkpoint(const Args& args, const std::string& path);

inline constexpr const char* kVersion = "0.1.0";

}  // namespace terrace::cli
