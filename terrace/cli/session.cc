#include "terrace/cli/session.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/huge_pages.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/plan/plan_file.h"
#include "terrace/program/reserve.h"

namespace terrace::cli {
namespace {

/// Below this even an empty process is near the limit: the budget is judged before it is enforced.
constexpr Bytes kHardlyAnything = 16_MiB;

/// Plans, for the shortest context if none is given, in a process of its own whose memory is thrown away: whether no
/// plan fits at all.
bool nothing_fits(const Args& args, const std::string& path, Bytes budget) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    bool fits = true;  // any other failure will be said by the real attempt
    try {
      TextOptions o = text_options(args, path);
      o.context = args.integer("ctx", 2, 2, i64{1} << 24);  // no other needs less than the shortest
      o.budget = budget;
      TextModel(o, machine_of(args));
    } catch (const Error& e) { fits = e.kind() != ErrorKind::does_not_fit; } catch (const std::exception&) {
    }
    ::_exit(fits ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/// Whether `tier` of --budget is main memory; else it is persistent: nothing is ever written there, so that every
/// budget of it is kept. `machine`: none for this host, which is not looked up yet: it may not have been probed.
bool is_main_memory(std::string_view tier, const std::optional<Machine>& machine) {
  const std::string_view main = machine ? machine->tier(machine->main_memory()).id : std::string_view("dram");
  if (tier == "memory" || tier == main) return true;
  std::string names = fmt::format("{}=SIZE or memory=SIZE", main);
  bool known = false;
  const auto persistent = [&](std::string_view id) {
    known |= tier == id;
    names += fmt::format(", {}=SIZE", id);
  };
  if (machine) {
    for (const Tier& t : machine->tiers)
      if (t.persistent) persistent(t.id);
  } else {
    persistent("disk");
  }
  if (known) return false;
  const bool exists = machine && machine->find_tier(tier);
  throw Error(ErrorKind::usage,
              fmt::format("--budget: {} \"{}\"{}", exists ? "cannot limit tier" : "no tier", tier,
                          machine ? " of machine " + machine->name : std::string()),
              {}, names);
}

/// One line for each thing that this system does not let us have.
void say_what_is_lost(TextModel& model) {
  if (!model.program().loaded()) return;
  const std::string path = model.program().host().io_path();
  if (path.starts_with("none")) return;
  if (path.find(": ") != path.npos) say("terrace: the model is read by {}\n", path);
  if (const char* lost = huge_pages_lost(); *lost != 0) say("terrace: {}\n", lost);
}

}  // namespace

Bytes size_of_file(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) throw Error(ErrorKind::bad_file, std::strerror(errno), path, "check the path");
  if (!S_ISREG(st.st_mode)) throw Error(ErrorKind::bad_file, "no regular file", path, "name a GGUF file");
  return Bytes{static_cast<u64>(st.st_size)};
}

std::optional<Bytes> budget_of(const Args& args, const std::string& model) {
  const auto text = args.text("budget");
  if (!text) return std::nullopt;
  const std::optional<Bytes> whole = model.empty() ? std::nullopt : std::optional(size_of_file(model));
  std::optional<Bytes> memory;
  std::optional<Machine> machine;
  const std::string name = args.text("machine", "host");
  for (std::size_t at = 0; at <= text->size();) {
    const std::size_t end = std::min(text->find(',', at), text->size());
    const std::string_view part(text->data() + at, end - at);
    at = end + 1;
    const std::size_t eq = part.find('=');
    const std::string_view tier = eq == part.npos ? "memory" : part.substr(0, eq);
    const Bytes bytes = parse_size(eq == part.npos ? part : part.substr(eq + 1), whole, "budget");
    if (tier != "memory" && name != "host" && !machine) machine = machine_named(args, name);
    if (is_main_memory(tier, machine)) memory = bytes;
  }
  return memory;
}

Bytes budget_or_default(const Args& args, const std::string& model) {
  const auto given = budget_of(args, model);
  return given ? *given : default_budget();
}

std::vector<std::string> no_fuse_of(const Args& args) {
  std::vector<std::string> names;
  const std::string text = args.text("no-fuse", "");
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    names.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

std::optional<BoundRates> rates_flag(const Args& args) {
  const auto path = args.text("rates");
  if (!path) return std::nullopt;
  const auto doc = nlohmann::json::parse(read_file(*path, 1 << 24), nullptr, false);
  const auto fail = [&](const char* key) {
    throw Error(ErrorKind::bad_file, fmt::format("no usable {}", key), *path,
                "write it with: terrace probe --json FILE");
  };
  if (!doc.is_object() || !doc.contains("rates") || !doc["rates"].is_object()) fail("\"rates\"");
  const auto rate = [&](const char* key) {
    const auto it = doc["rates"].find(key);
    if (it == doc["rates"].end() || !it->is_number() || !(it->get<double>() > 0)) fail(key);
    return it->get<double>();
  };
  return BoundRates{BytesPerSecond{rate("disk_Bps")}, BytesPerSecond{rate("dram_Bps")}, OpsPerSecond{rate("peak_ops")}};
}

TextOptions text_options(const Args& args, const std::string& model) {
  static constexpr const char* kKv[] = {"f16", "q8_0"};
  static constexpr const char* kActivations[] = {"q8", "f32"};
  TextOptions o;
  o.path = model;
  o.threads = threads_of(args);
  o.isa = isa_of(args);
  o.prompt_chunk = args.integer("prompt-chunk", 512, 1, 1 << 16);
  if (args.choice("kv", kKv) == 1) o.kv_dtype = DType::f32, o.kv_layout = Layout::q8_0;
  o.quantize_activations = args.choice("activations", kActivations) == 0;
  o.rates = rates_flag(args);
  if (const auto plan = args.text("plan")) o.plan = plan_from_json(read_file(*plan, u64{1} << 30), *plan);
  return o;
}

HostOptions host_options(const Args& args) {
  static constexpr const char* kIo[] = {"auto", "uring", "pread"};
  HostOptions o;
  o.io = std::array{IoMode::automatic, IoMode::uring, IoMode::pread}[args.choice("io", kIo)];
  o.cancel = &aborted();
  return o;
}

SamplerOptions sampler_options(const Args& args, double temperature) {
  SamplerOptions o;
  o.temperature = args.number("temperature", temperature, 0, 100);
  o.top_k = args.integer("top-k", 0, 0, 1 << 30);
  o.top_p = args.number("top-p", 1, 0, 1);
  o.min_p = args.number("min-p", 0, 0, 1);
  o.repeat_penalty = args.number("repeat-penalty", 1, 0.01, 100);
  o.seed = static_cast<u64>(args.integer("seed", 0, 0, INT64_MAX));
  return o;
}

std::optional<int> begin_limited(const Args& args, const std::string& model, Enforcement& enforcement) {
  const auto budget = budget_of(args, model);
  size_of_file(model);
  probe_if_unknown(args, model);
  if (!budget) {
    enforcement = {false, "no budget given"};
    return std::nullopt;
  }
  // What cannot be planned falls through to the real attempt, unlimited, which refuses with the right message.
  if (*budget < kHardlyAnything && !args.has("enforced-by") && nothing_fits(args, model, *budget)) {
    enforcement = {false, "not enforced: nothing fits"};
    return std::nullopt;
  }
  return enforce(args, *budget, enforcement);
}

void load_weights(TextModel& model, const Args& args) {
  HostOptions host = host_options(args);
  Bar bar("loading");
  host.on_load = [&bar](Bytes done, Bytes all) {
    if (cancelled()) aborted() = true;  // half a load is of no use
    if (all.count) bar.show(static_cast<double>(done.count) / static_cast<double>(all.count));
  };
  model.load(host);
  bar.clear();
  say_what_is_lost(model);
}

std::string prompt_text(const Args& args) {
  if (args.has("prompt") && args.has("prompt-file"))
    throw Error(ErrorKind::usage, "--prompt and --prompt-file do not go together");
  if (const auto text = args.text("prompt")) return *text;
  if (const auto file = args.text("prompt-file")) return read_file(*file, 1 << 26);
  throw Error(ErrorKind::usage, fmt::format("terrace {} needs a prompt", args.verb().name), {},
              "--prompt TEXT or --prompt-file FILE");
}

}  // namespace terrace::cli
