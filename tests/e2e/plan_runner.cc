// Runs a plan from a file in a program that has no planner: MODEL PLAN MACHINE CONTEXT TOKENS ID... prints token ids.
// Greedy, one prompt; the graph is built with the tool's defaults.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "terrace/core/error.h"
#include "terrace/machine/toml.h"
#include "terrace/plan/plan_file.h"
#include "terrace/plan/verify.h"
#include "terrace/program/model.h"
#include "terrace/run/host_engine.h"

namespace {

using namespace terrace;

i64 number(std::string_view text) {
  i64 v = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), v).ec != std::errc{})
    throw Error(ErrorKind::usage, fmt::format("\"{}\" is no number", text));
  return v;
}

std::string contents(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  if (!f) throw Error(ErrorKind::bad_file, "cannot be read", path);
  std::ostringstream s;
  s << f.rdbuf();
  return s.str();
}

class Runner {
 public:
  Runner(const std::string& model, const std::string& plan, const std::string& machine, i64 context)
      : machine_(machine::load(machine)),
        plan_(plan_from_json(contents(plan), plan)),
        kernels_(cpu_kernels(best_isa())) {
    const Model m = open_model(model);
    nn::LlamaOptions options;
    options.context = context;
    options.max_tokens = std::min<i64>(context, 512);
    graph_ = build_graph(m, options);
    verify_or_throw(graph_, machine_, plan_, weight_places(graph_, m, machine_.file_tier().value()));
    engine_ = std::make_unique<HostEngine>(graph_, plan_, kernels_);
    if (const u32 load = plan_.find_body("load"); load != kNone) engine_->run(load, {});
  }

  /// One step; the likeliest next token.
  i32 step(std::span<const i32> ids) {
    const i64 symbols[] = {static_cast<i64>(ids.size()), position_};  // n, pos: the order in which nn makes them
    const InputBinding in{*graph_.find_value("ids"), std::as_bytes(ids)};
    engine_->run(plan_.body_for(symbols), {symbols, {&in, 1}});
    position_ += static_cast<i64>(ids.size());
    const ValueId logits = graph_.outputs().front();
    const auto* first = reinterpret_cast<const float*>(engine_->output(logits).data);
    return static_cast<i32>(std::max_element(first, first + graph_.value(logits).spec.columns({})) - first);
  }
  i32 prompt(std::span<const i32> ids) {
    i64 most = 1;
    for (const Body& b : plan_.bodies)
      if (!b.once) most = std::max(most, b.symbols[0].hi);
    i32 next = 0;
    for (std::size_t i = 0; i < ids.size(); i += static_cast<std::size_t>(most))
      next = step(ids.subspan(i, std::min(ids.size() - i, static_cast<std::size_t>(most))));
    return next;
  }

 private:
  Machine machine_;
  Plan plan_;
  KernelTable kernels_;
  Graph graph_;
  std::unique_ptr<HostEngine> engine_;
  i64 position_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 7) throw Error(ErrorKind::usage, "plan_runner MODEL PLAN MACHINE CONTEXT TOKENS ID...");
    Runner runner(argv[1], argv[2], argv[3], number(argv[4]));
    std::vector<i32> ids;
    for (int i = 6; i < argc; ++i) ids.push_back(static_cast<i32>(number(argv[i])));
    i32 next = runner.prompt(ids);
    for (i64 left = number(argv[5]); left > 0; --left) {
      fmt::print("{}\n", next);
      if (left > 1) next = runner.step({&next, 1});
    }
    return 0;
  } catch (const terrace::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return exit_code(e.kind());
  }
}
