// What the verbs that use a model have in common: from flags to options of the library.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "terrace/cli/args.h"
#include "terrace/cli/enforce.h"
#include "terrace/program/text_model.h"

namespace terrace::cli {

/// Size of a model file; Error(bad_file) when it is not there.
Bytes size_of_file(const std::string& path);

/// Main memory's figure in --budget, which may be a share of the model's file if there is one; nothing without the
/// flag. Error(usage) for tiers that do not exist.
std::optional<Bytes> budget_of(const Args& args, const std::string& model);
/// The same, or what free memory and enclosing limits allow.
Bytes budget_or_default(const Args& args, const std::string& model);

/// Flags that say how a model is run, but for context and budget: threads, kernels, cache, activations, rates, chunk.
TextOptions text_options(const Args& args, const std::string& model);
HostOptions host_options(const Args& args);
SamplerOptions sampler_options(const Args& args, double temperature);
/// Names in --no-fuse.
std::vector<std::string> no_fuse_of(const Args& args);
/// --rates FILE.
std::optional<BoundRates> rates_flag(const Args& args);

/// Sets the process up for one model under a budget: asks for the machine's figures, has the kernel enforce the budget.
/// An exit code means that a child has done the work.
std::optional<int> begin_limited(const Args& args, const std::string& model, Enforcement& enforcement);

/// Brings the weights in, with a bar.
void load_weights(TextModel& model, const Args& args);

/// Names of what the prompt is made of: text of --prompt, --prompt-file or the words behind the model.
std::string prompt_text(const Args& args);

}  // namespace terrace::cli
