// The tool: finds the verb, runs it, and turns errors into what, where and what to try.
#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>

#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>
#include <vector>

#include "terrace/cli/huge_pages.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

const std::vector<const Verb*>& verbs() {
  static const std::vector<const Verb*> all = {&kRun,      &kChat,  &kPlan,    &kSimulate,  &kEval,  &kLogits,
                                               &kTokenize, &kGraph, &kInspect, &kCheckFile, &kProbe, &kTopo,
                                               &kMachine,  &kTrain, &kExport,  &kBench};
  return all;
}

std::string overview() {
  std::string s = "terrace: neural networks inside the memory you give them\n\nusage: terrace VERB [ARGS] [FLAGS]\n\n";
  for (const Verb* v : verbs()) s += fmt::format("  {:<12}{}\n", v->name, v->help);
  s += "\nterrace VERB --help shows a verb's flags and examples.\n\nExamples\n"
       "  terrace run model.gguf --prompt 'Once upon a time' --budget 64MiB\n"
       "  terrace plan model.gguf --budget 64MiB\n";
  return s;
}

const Verb& verb_named(const char* name) {
  std::vector<const char*> names;
  for (const Verb* v : verbs()) {
    if (std::strcmp(v->name, name) == 0) return *v;
    names.push_back(v->name);
  }
  const auto near = nearest(name, names);
  throw Error(ErrorKind::usage, fmt::format("there is no verb \"{}\"", name), {},
              near ? fmt::format("terrace {}", *near) : fmt::format("one of {}", fmt::join(names, ", ")));
}

int dispatch(int argc, char** argv) {
  if (argc < 2) {
    std::fputs(overview().c_str(), stderr);
    return exit_code(ErrorKind::usage);
  }
  const std::string_view first = argv[1];
  if (first == "--help" || first == "-h" || (first == "help" && argc == 2)) {
    std::fputs(overview().c_str(), stdout);
    return 0;
  }
  if (first == "--version") {
    fmt::print("terrace {}\n", kVersion);
    return 0;
  }
  const Verb& verb = verb_named(first == "help" ? argv[2] : argv[1]);
  hand_over(verb, argv);
  if (first == "help") {
    std::fputs(help_of(verb).c_str(), stdout);
    return 0;
  }
  const Args args(verb, argc - 1, argv + 1);
  if (args.has("help")) {
    std::fputs(help_of(verb).c_str(), stdout);
    return 0;
  }
  return verb.run(args);
}

/// By fprintf, which neither allocates nor throws: memory may be what has run out.
int report(const Error& e) {
  std::fprintf(stderr, "terrace: %s\n", e.message().c_str());
  if (!e.where().empty()) std::fprintf(stderr, "  where: %s\n", e.where().c_str());
  if (!e.hint().empty()) std::fprintf(stderr, "  try: %s\n", e.hint().c_str());
  if (e.smallest_budget().count)  // rounded up, so that what is printed does suffice
    std::fprintf(stderr, "  smallest budget: %.1fMiB\n",
                 static_cast<double>(ceil_div(e.smallest_budget().count * 10, 1 << 20)) / 10);
  return exit_code(e.kind());
}

/// A descriptor that is closed would be given to the next file that is opened, and messages would go into it. Opened
/// the wrong way round, it goes on refusing.
void fill_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int run(int argc, char** argv) {
  fill_standard_descriptors();
  // What is freed goes back to the system at once, since it counts against the budget; one heap for all threads.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 128 << 10);
  ::mallopt(M_ARENA_MAX, 1);
  catch_signals();
  try {
    refuse_huge_pages();
    const int code = dispatch(argc, argv);
    if (code == 0) flush(stdout);  // what could not be written is no success
    return code;
  } catch (const Error& e) { return report(e); } catch (const std::bad_alloc&) {
    std::fputs("terrace: out of memory\n  try: a smaller --ctx or --prompt-chunk, or a larger --budget\n", stderr);
  } catch (const std::system_error& e) {  // fmt's, when a stream takes nothing
    std::fprintf(stderr, "terrace: %s\n", e.what());
  } catch (const std::exception& e) { std::fprintf(stderr, "terrace: unexpected: %s\n", e.what()); }
  return exit_code(ErrorKind::failure);
}

}  // namespace
}  // namespace terrace::cli

int main(int argc, char** argv) { return terrace::cli::run(argc, argv); }
