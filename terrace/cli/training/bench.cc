// terrace bench WHAT: measurements.
#include "terrace/cli/training/bench.h"

#include <fmt/format.h>

#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

int bench(const Args& args) {
  const std::string& what = args.word(0, "what to measure: attention or step");
  args.at_most(1);
  if (what == "attention") return bench_attention(args);
  if (what == "step") return bench_step(args);
  throw Error(ErrorKind::usage, fmt::format("there is no benchmark \"{}\"", what), {}, "attention, step");
}

constexpr const char* kFlags[] = {"heads",   "length",  "head-size", "batch",     "causal",  "cache",
                                  "out",     "model",   "layers",    "attention", "no-fuse", "repeats",
                                  "dropout", "threads", "isa",       "budget",    "machine"};

}  // namespace

const Verb kBench = {"bench",
                     kBenchHelp,
                     "attention|step [FLAGS]",
                     "  terrace bench attention --cache 1MiB\n"
                     "  terrace bench attention --heads 12 --length 2048 --causal --out attention.svg\n"
                     "  terrace bench step --model gpt2 --length 1024 --batch 1\n"
                     "  terrace bench step --model bert --length 512 --attention standard --no-fuse all\n",
                     kFlags,
                     bench};

}  // namespace terrace::cli
