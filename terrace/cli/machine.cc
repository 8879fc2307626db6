// terrace machine check|show|diff: machine files.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/machine/toml.h"

namespace terrace::cli {
namespace {

Machine named(const Args& args, std::size_t index) {
  const std::string& name = args.word(index, "a machine file or name");
  // Elsewhere a damaged description of the host counts as none; who asks for a check wants to be told.
  if (name == "host" && args.words()[0] == "check" && ::access(host_file().c_str(), R_OK) == 0)
    return load_machine(host_file());
  return machine_named(args, name);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1);
    lines.push_back(text.substr(0, text[end] == '\n' ? end : end + 1));
    text.remove_prefix(end + 1);
  }
  return lines;
}

/// Lines of the longest common subsequence bare, the others with "- " or "+ "; tables keep their headings.
std::string diff(std::string_view a_text, std::string_view b_text) {
  const auto a = lines_of(a_text), b = lines_of(b_text);
  const std::size_t w = b.size() + 1;
  std::vector<u32> common((a.size() + 1) * w);  // machine files are at most a few thousand lines
  for (std::size_t i = a.size(); i-- > 0;)
    for (std::size_t j = b.size(); j-- > 0;)
      common[i * w + j] =
          a[i] == b[j] ? common[(i + 1) * w + j + 1] + 1 : std::max(common[(i + 1) * w + j], common[i * w + j + 1]);
  std::string out;
  std::string_view heading, shown;
  const auto line = [&](char sign, std::string_view text) {
    if (!text.starts_with('[') && heading != shown) out += fmt::format("  {}\n", shown = heading);
    out += fmt::format("{} {}\n", sign, text);
  };
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      if (a[i].starts_with('[')) heading = a[i];
      ++i, ++j;
    } else if (j == b.size() || (i < a.size() && common[(i + 1) * w + j] >= common[i * w + j + 1])) {
      line('-', a[i++]);
    } else {
      line('+', b[j++]);
    }
  }
  return out;
}

int machine_verb(const Args& args) {
  static constexpr const char* kWhat[] = {"check", "show", "diff"};
  const std::string& what = args.word(0, "check, show or diff");
  if (std::find(std::begin(kWhat), std::end(kWhat), what) == std::end(kWhat))
    throw Error(ErrorKind::usage, fmt::format("terrace machine has no \"{}\"", what), {}, "check, show or diff");
  args.at_most(what == "diff" ? 3 : 2);
  const Machine m = named(args, 1);
  std::FILE* out = text_stream(args);
  Json doc = document("machine", &m).add("what", what);
  if (what == "diff") {
    const std::string text = diff(machine::to_toml(m), machine::to_toml(named(args, 2)));
    std::fputs(text.empty() ? "no difference\n" : text.c_str(), out);
    doc.add("equal", text.empty()).add("text", text);
  } else if (what == "show") {
    const std::string text = machine::to_toml(m);
    std::fputs(text.c_str(), out);
    doc.add("text", text);
  } else {
    fmt::print(out, "{}: sound ({} tiers, {} links, {} units)\n", args.words()[1], m.tiers.size(), m.links.size(),
               m.units.size());
    doc.add("sound", true);
  }
  write_document(args, doc);
  return 0;
}

}  // namespace

const Verb kMachine = {"machine",
                       "check, show or compare machine files",
                       "check|show FILE|NAME, or diff A B",
                       "  terrace machine check my-board.toml\n"
                       "  terrace machine show raspberry-pi-5\n"
                       "  terrace machine diff host hbm-server\n",
                       {},
                       machine_verb};

}  // namespace terrace::cli
