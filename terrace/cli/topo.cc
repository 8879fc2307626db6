// terrace topo: a machine as a drawing.
#include <fmt/format.h>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/topo.h"

namespace terrace::cli {
namespace {

int topo(const Args& args) {
  args.at_most(1);
  if (!args.words().empty() && args.has("machine"))
    throw Error(ErrorKind::usage, "the machine is named twice, as a word and by --machine");
  const std::string name = args.words().empty() ? args.text("machine", "host") : args.words()[0];
  const bool host = name == "host";
  const Machine m = machine_named(args, name);
  const std::string tree = host ? topology_json(program_folder() + "/terrace-topology") : std::string();
  const std::string text = topo_text(m, tree);
  if (const auto file = args.text("out"))
    write_file(*file, file->ends_with(".svg") ? topo_svg(m) : text);
  else
    std::fputs(text.c_str(), text_stream(args));
  if (args.has("json"))
    write_document(args, document("topo", &m).add("text", text).raw("tree", tree.empty() ? "null" : tree));
  return 0;
}

constexpr const char* kFlags[] = {"machine", "out", "threads"};

}  // namespace

const Verb kTopo = {"topo",
                    "draw a machine",
                    "[MACHINE] [FLAGS]",
                    "  terrace topo\n"
                    "  terrace topo hbm-server --out hbm.svg\n",
                    kFlags,
                    topo};

}  // namespace terrace::cli
