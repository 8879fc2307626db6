#include "terrace/cli/args.h"

#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

constexpr Flag kFlags[] = {
    {"budget", "SIZE", "memory of the whole process: 64MiB, 1.5GiB, 50% (of the model), dram=64MiB,disk=1GiB"},
    {"enforce", "auto|kernel|none", "let the kernel hold the process to the budget (a memory cgroup)"},
    {"machine", "FILE|NAME", "machine file or shipped machine; default: this host, as probed"},
    {"rates", "FILE", "bandwidths and peak for the bound, as `terrace probe --json FILE` wrote them"},
    {"ctx", "N", "tokens of context"},
    {"max-tokens", "N", "most tokens to generate (run, chat: 256, plan: 32, simulate: 64)"},
    {"threads", "N", "compute threads; default: the cores this process may use"},
    {"seed", "N", "seed of sampling (0), or of training (the configuration's)"},
    {"resume", nullptr, "go on from the checkpoint in the run's folder"},
    {"heads", "N", "heads of attention (16)"},
    {"length", "N", "queries and keys, or tokens of a window (1024)"},
    {"head-size", "N", "columns of a head (64)"},
    {"batch", "N", "batch elements (attention: 64)"},
    {"causal", nullptr, "a query sees the keys up to its own"},
    {"cache", "SIZE", "the cache across which bytes are counted (1MiB)"},
    {"model", "gpt2|bert|char", "the shape of GPT-2 small, of BERT base, or of the character GPT"},
    {"layers", "N", "layers of the model (12)"},
    {"attention", "flash|standard", "whether scores stay in the cache or are written to memory"},
    {"dropout", "X", "probability of dropping (0)"},
    {"repeats", "N", "steps to measure (5)"},
    {"no-fuse", "NAME,..", "leave out fusions: residual_norm, bias_activation, adamw, all"},
    {"temperature", "X", "0 takes the likeliest token (run: 0, chat: 0.7)"},
    {"top-k", "N", "sample among the N likeliest; 0: all"},
    {"top-p", "X", "sample among the likeliest that make up X"},
    {"min-p", "X", "sample among tokens at least X times as likely as the likeliest"},
    {"repeat-penalty", "X", "divides the logits of the last 64 tokens (1)"},
    {"chat", nullptr, "apply the model's chat template to the prompt"},
    {"raw", nullptr, "take the prompt as it is"},
    {"system", "TEXT", "system message of the chat template"},
    {"kv", "f16|q8_0", "type of the cache"},
    {"activations", "q8|f32", "what quantized weights are multiplied with; f32 is accurate and slower"},
    {"ignore-eos", nullptr, "go on to --max-tokens, for measurements"},
    {"io", "auto|uring|pread", "how files are read"},
    {"isa", "auto|avx512bf16|avx512|avx2|portable|neon", "instruction set of the kernels"},
    {"prompt-chunk", "N", "most tokens of the prompt in one step (512; eval, logits: 64)"},
    {"prompt", "TEXT", "the prompt"},
    {"prompt-file", "FILE", "the prompt from a file; - is standard input"},
    {"prompt-tokens", "N", "length of the prompt that is told (256; at most half of the context)"},
    {"plan", "FILE", "use this plan instead of making one; it is verified first"},
    {"max-write", "SIZE", "most bytes to write to a slow tier"},
    {"json", "FILE", "the result as JSON; - is standard output"},
    {"out", "FILE", "where the result goes"},
    {"base", "MODEL", "the model file that the run began with"},
    {"merge", nullptr, "adapters become part of the matrices"},
    {"type", "f16|f32", "of matrices that were trained or merged"},
    {"steps", nullptr, "show every step"},
    {"text", "FILE", "a text file"},
    {"chunks", "N", "windows of the text; default: all"},
    {"against", "MODEL", "compare with another model"},
    {"against-f32", nullptr, "compare with the same weights and f32 activations"},
    {"special", nullptr, "texts of control tokens become those tokens"},
    {"path", "PATH", "file or folder whose file system is measured"},
    {"seconds", "X", "time to spend (4)"},
    {"help", nullptr, "this text"},
    {"enforced-by", "CGROUP", nullptr},
};

const Flag* flag_named(std::string_view name) {
  for (const Flag& f : kFlags)
    if (name == f.name) return &f;
  return nullptr;
}

/// Edits between two words (Levenshtein).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j)
      diagonal = std::exchange(row[j + 1], std::min({row[j] + 1, row[j + 1] + 1, diagonal + (a[i] == b[j] ? 0u : 1u)}));
  }
  return row[b.size()];
}

[[noreturn]] void bad(const Verb& verb, std::string what, std::string hint = {}) {
  if (hint.empty()) hint = fmt::format("terrace {} --help", verb.name);
  throw Error(ErrorKind::usage, std::move(what), {}, std::move(hint));
}

}  // namespace

std::optional<std::string> nearest(std::string_view wrong, std::span<const char* const> names) {
  const char* best = nullptr;
  std::size_t least = std::max<std::size_t>(2, wrong.size() / 3) + 1;
  for (const char* name : names)
    if (const std::size_t d = distance(wrong, name); d < least) least = d, best = name;
  if (best) return best;
  return std::nullopt;
}

Args::Args(const Verb& verb, int argc, char** argv) : verb_(verb), raw_(argv + 1, static_cast<std::size_t>(argc - 1)) {
  std::vector<const char*> names(verb.flags.begin(), verb.flags.end());
  for (const char* always : {"json", "help", "enforced-by"}) names.push_back(always);
  std::vector<option> options;
  for (const char* name : names)
    options.push_back({name, flag_named(name)->arg ? required_argument : no_argument, nullptr, 0});
  options.push_back({});
  opterr = 0;
  optind = 0;  // GNU: start anew
  int index = -1;
  for (int c; (c = ::getopt_long(argc, argv, ":h", options.data(), &index)) != -1; index = -1) {
    if (c == 'h') {
      given_.emplace_back(flag_named("help"), "");
    } else if (c == 0) {
      given_.emplace_back(flag_named(options[static_cast<std::size_t>(index)].name), optarg ? optarg : "");
    } else {
      std::string_view word = argv[optind - 1];
      if (c == ':') bad(verb, fmt::format("{} needs an argument", word));
      if (word.size() < 3 || !word.starts_with("--")) bad(verb, fmt::format("unknown flag -{:c}", optopt));
      word = word.substr(2, word.find('=') == word.npos ? word.npos : word.find('=') - 2);
      const bool known = std::find(names.begin(), names.end(), word) != names.end();
      if (known) bad(verb, fmt::format("--{} takes no argument", word));
      const auto near = nearest(word, names);
      const char* foreign = flag_named(word) ? "does not take" : "has no flag";
      bad(verb, fmt::format("terrace {} {} --{}", verb.name, foreign, word), near ? "--" + *near : std::string());
    }
  }
  words_.assign(argv + optind, argv + argc);
}

const std::string* Args::find(std::string_view flag) const {
  for (auto it = given_.rbegin(); it != given_.rend(); ++it)
    if (flag == it->first->name) return &it->second;
  return nullptr;
}

const std::string& Args::word(std::size_t index, const char* what) const {
  if (index >= words_.size()) bad(verb_, fmt::format("terrace {} needs {}", verb_.name, what));
  return words_[index];
}

void Args::at_most(std::size_t n) const {
  if (words_.size() > n) bad(verb_, fmt::format("one word too many: \"{}\"", words_[n]));
}

std::optional<std::string> Args::text(std::string_view flag) const {
  if (const std::string* v = find(flag)) return *v;
  return std::nullopt;
}

std::string Args::text(std::string_view flag, std::string_view otherwise) const {
  const std::string* v = find(flag);
  return v ? *v : std::string(otherwise);
}

i64 Args::integer(std::string_view flag, i64 otherwise, i64 least, i64 most) const {
  const std::string* v = find(flag);
  if (!v) return otherwise;
  i64 n = 0;
  const auto [end, ec] = std::from_chars(v->data(), v->data() + v->size(), n);
  if (ec != std::errc{} || end != v->data() + v->size())
    bad(verb_, fmt::format("--{} {}: not a whole number", flag, *v));
  if (n < least || n > most) bad(verb_, fmt::format("--{} {}: not in {}..{}", flag, *v, least, most));
  return n;
}

double Args::number(std::string_view flag, double otherwise, double least, double most) const {
  const std::string* v = find(flag);
  if (!v) return otherwise;
  double x = 0;
  const auto [end, ec] = std::from_chars(v->data(), v->data() + v->size(), x);
  if (ec != std::errc{} || end != v->data() + v->size()) bad(verb_, fmt::format("--{} {}: not a number", flag, *v));
  if (!(x >= least && x <= most)) bad(verb_, fmt::format("--{} {}: not in {}..{}", flag, *v, least, most));
  return x;
}

std::size_t Args::choice(std::string_view flag, std::span<const char* const> names) const {
  const std::string* v = find(flag);
  if (!v) return 0;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (*v == names[i]) return i;
  bad(verb_, fmt::format("--{} {}: one of {}", flag, *v, fmt::join(names, ", ")));
}

std::string help_of(const Verb& verb) {
  std::string s = fmt::format("terrace {} {}\n  {}\n\nFlags\n", verb.name, verb.usage, verb.help);
  std::vector<const char*> names(verb.flags.begin(), verb.flags.end());
  names.push_back("json");
  for (const char* name : names) {
    const Flag& f = *flag_named(name);
    const std::string left = fmt::format("--{}{}{}", f.name, f.arg ? " " : "", f.arg ? f.arg : "");
    if (left.size() > 26)
      s += fmt::format("  {}\n  {:26}  {}\n", left, "", f.help);
    else
      s += fmt::format("  {:26}  {}\n", left, f.help);
  }
  s += "\nExamples\n";
  s += verb.examples;
  return s;
}

Bytes parse_size(std::string_view text, std::optional<Bytes> whole, std::string_view flag) {
  const auto fail = [&](std::string_view why) {
    throw Error(ErrorKind::usage, fmt::format("--{} {}: {}", flag, text, why), {},
                "64MiB, 1.5GiB, 500MB, plain bytes or 50%");
  };
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"", 1},     {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
      {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  double x = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), x, std::chars_format::fixed);
  if (ec != std::errc{} || !std::isfinite(x) || x < 0) fail("not a size");
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  double scale = 0;
  if (unit == "%") {
    if (!whole) fail("there is no file to take a share of");
    scale = static_cast<double>(whole->count) / 100;
  }
  for (const auto& [name, factor] : kUnits)
    if (unit == name) scale = factor;
  if (scale == 0) fail(fmt::format("unknown unit \"{}\"", unit));
  if (x * scale >= 0x1p60) fail("too large");
  return Bytes{static_cast<u64>(x * scale)};
}

}  // namespace terrace::cli
