#include "fuzz/machine_subject.h"

#include <cstdlib>
#include <string>

#include "fuzz/live_bytes.h"
#include "terrace/core/error.h"
#include "terrace/machine/toml.h"

namespace terrace::fuzz {
namespace {

/// Besides four times the text: tiers, links, units and sources are few, but each takes more than its least text.
constexpr std::size_t kFixed = 32 << 10;

Machine parse(std::string_view text, std::string_view origin) {
  const LiveBytesLimit limit(4 * text.size() + kFixed);
  return machine::parse(text, origin);
}

}  // namespace

void use_machine(std::string_view text) {
  std::string written;
  try {
    written = machine::to_toml(parse(text, "fuzz"));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_file || e.message().empty() || e.where().empty()) std::abort();
    return;
  }
  const Machine again = parse(written, "what to_toml wrote");  // an Error here is a defect, and ends the program
  if (machine::to_toml(again) != written) std::abort();
}

}  // namespace terrace::fuzz
