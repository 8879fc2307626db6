#include "terrace/program/text_model.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>

#include "terrace/core/error.h"
#include "terrace/program/reserve.h"

namespace terrace {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Decode steps at every position and prompts of half the context: what a plan is judged by.
std::vector<BodyRequest> bodies_of(const Graph& graph, const TextOptions& o) {
  const SymbolId n = *graph.find_symbol("n"), pos = *graph.find_symbol("pos");
  const auto body = [&](const char* name, i64 most) {
    BodyRequest b;
    b.name = name;
    b.symbols.resize(2);
    b.typical.resize(2);
    b.symbols[static_cast<std::size_t>(n)] = {1, most};
    b.symbols[static_cast<std::size_t>(pos)] = {0, o.context - 1};
    b.typical[static_cast<std::size_t>(n)] = most;
    b.typical[static_cast<std::size_t>(pos)] = std::max<i64>(0, (o.context - most) / 2);
    b.weight = std::max(1.0, static_cast<double>(o.context) / 2);
    return b;
  };
  std::vector<BodyRequest> all;
  if (o.logits == nn::Logits::last) all.push_back(body("decode", 1));
  const i64 chunk = std::min(o.prompt_chunk, o.context);
  if (chunk > 1 || all.empty()) {
    all.push_back(body("prompt", chunk));
    all.back().chunk = n;
  }
  return all;
}

/// A plan from a file is held to the same account as one made here; its own figures may be of another binary.
void check_account(const Plan& plan, TierId memory, const std::optional<Bytes>& budget,
                   const std::vector<Reserve>& needed) {
  Bytes need, have;
  for (const Reserve& r : needed) need += r.bytes;
  for (const Reserve& r : plan.reserves)
    if (r.tier == memory) have += r.bytes;
  if (have < need)
    throw Error(ErrorKind::usage,
                fmt::format("the plan keeps {} bytes for the process, which needs {}", have.count, need.count),
                "--plan", "plan again with this program");
  const Bytes total = plan.arena_bytes(memory) + std::max(have, need);
  if (budget && total > *budget)
    throw Error(ErrorKind::does_not_fit,
                fmt::format("the plan needs {} bytes, more than the budget of {}", total.count, budget->count),
                "--plan", "plan again for this budget")
        .with_smallest_budget(total);
}

/// Every step of `most` tokens or fewer, at every position, must have a body: else a run would end half-way.
void check_bodies(const Plan& plan, SymbolId n, SymbolId pos, i64 most, i64 context) {
  for (i64 count = 1; count <= most; ++count)
    for (i64 at = 0; at <= context - count;) {
      i64 next = at;
      for (const Body& b : plan.bodies) {
        if (b.once) continue;
        const Interval &x = b.symbols[static_cast<std::size_t>(n)], &y = b.symbols[static_cast<std::size_t>(pos)];
        if (x.lo <= count && count <= x.hi && y.lo <= at && at <= y.hi) next = std::max(next, y.hi + 1);
      }
      if (next == at)
        throw Error(ErrorKind::usage, fmt::format("the plan has no body for {} tokens at position {}", count, at),
                    "--plan", "plan again for this context");
      at = next;
    }
}

}  // namespace

struct TextModel::Impl {
  TextOptions options;
  Model model;
  std::unique_ptr<io::Tokenizer> tokenizer;
  std::unique_ptr<Program> program;
  BoundRates rates;
  Bytes weights, state;
  ValueId ids = kNone, logits = kNone;
  SymbolId n = 0, pos = 0;
  i64 position = 0, chunk = 1, logit_rows = 0;
  double load_seconds = 0;
  i64 predicted_prompt = -1;  ///< tokens; none predicted yet
  double predicted_prefill = 0;
  std::vector<double> predicted_decode{};  ///< seconds of each step

  std::array<i64, 2> symbols(i64 count, i64 at) const {
    std::array<i64, 2> s{};
    s[static_cast<std::size_t>(n)] = count;
    s[static_cast<std::size_t>(pos)] = at;
    return s;
  }
  /// Runs one step on the host.
  void step(std::span<const i32> tokens, Phase& phase) {
    const auto s = symbols(static_cast<i64>(tokens.size()), position);
    const InputBinding in{ids, std::as_bytes(tokens)};
    phase.totals += program->run({s, {&in, 1}}).totals;
    phase.n_tokens += static_cast<i64>(tokens.size());
    position += static_cast<i64>(tokens.size());
    logit_rows = options.logits == nn::Logits::all ? static_cast<i64>(tokens.size()) : 1;
  }
  void add_bound(Phase& phase, i64 count, i64 at) const {
    const Bound b = bound_of(graph_work(program->graph(), symbols(count, at)), weights, state, options.budget, rates);
    phase.bound_seconds += b.seconds.value;
    phase.bound_by = b.by;
  }
};

TextModel::TextModel(const TextOptions& options, Machine machine)
    : impl_(std::make_unique<Impl>(Impl{options, open_model(options.path), {}, {}, {}, {}, {}})) {
  Impl& m = *impl_;
  TextOptions& o = m.options;
  if (o.needs_tokenizer) {
    m.tokenizer = std::make_unique<io::Tokenizer>(m.model.file);
    if (m.tokenizer->size() > m.model.config.vocabulary)
      throw Error(ErrorKind::bad_file,
                  fmt::format("{} tokens, but only {} rows of token_embd.weight", m.tokenizer->size(),
                              m.model.config.vocabulary),
                  fmt::format("{}, key 'tokenizer.ggml.tokens'", o.path), "convert or download the model again");
  }
  nn::LlamaOptions lo;
  lo.context = o.context;
  lo.max_tokens = std::min(o.prompt_chunk, o.context);
  lo.kv_dtype = o.kv_dtype;
  lo.kv_layout = o.kv_layout;
  lo.quantize_activations = o.quantize_activations;
  lo.logits = o.logits;
  Graph graph = build_graph(m.model, lo);
  m.n = *graph.find_symbol("n");
  m.pos = *graph.find_symbol("pos");
  m.ids = *graph.find_value("ids");
  m.logits = graph.outputs().front();
  m.state = state_bytes(graph);
  m.rates = o.rates ? *o.rates : rates_of(machine, o.threads);

  const std::optional<TierId> disk = machine.file_tier();
  if (!disk) throw Error(ErrorKind::usage, "the machine has no persistent tier to read the model from", machine.name);
  PlanRequest request;
  request.weights = weight_places(graph, m.model, *disk);
  for (const Placement& p : request.weights) m.weights += p.bytes;
  ProcessNeeds needs;
  needs.tokenizer = Bytes{m.tokenizer ? m.tokenizer->memory_bytes() : 0};
  needs.header = header_bytes(m.model.file);
  needs.graph = Bytes{graph.memory_bytes()};
  needs.others = o.beside;
  needs.threads = o.plan ? o.plan->workers : o.threads;
  needs.logits = m.model.config.vocabulary;
  const TierId memory = machine.main_memory();
  request.reserves = process_reserves(memory, needs);
  if (o.plan) {
    check_account(*o.plan, memory, o.budget, request.reserves);
    if (o.plan->files.size() != 1)
      throw Error(ErrorKind::usage, fmt::format("the plan reads {} files, a model is one", o.plan->files.size()),
                  "--plan", "plan again for this model");
    o.plan->files[0].path = m.model.file.path();  // never another one, whatever the plan says
    m.program = std::make_unique<Program>(std::move(graph), std::move(machine), std::move(*o.plan), request.weights,
                                          o.isa, inference_kernels);
    o.plan.reset();
  } else {
    if (o.budget) request.budget.push_back({memory, *o.budget});
    request.bodies = bodies_of(graph, o);
    request.files.push_back({m.model.file.path(), Bytes{m.model.file.size()}});
    request.threads = o.threads;
    request.isa = o.isa;
    m.program = std::make_unique<Program>(compile(std::move(graph), std::move(machine), request, inference_kernels));
  }
  const u32 prompt = m.program->plan().find_body("prompt");
  if (prompt != kNone) m.chunk = m.program->plan().bodies[prompt].symbols[static_cast<std::size_t>(m.n)].hi;
  check_bodies(m.program->plan(), m.n, m.pos, m.chunk, m.options.context);
}

TextModel::~TextModel() = default;

const Model& TextModel::model() const { return impl_->model; }
const io::Tokenizer& TextModel::tokenizer() const {
  if (!impl_->tokenizer) throw Error(ErrorKind::usage, "opened without a tokenizer");
  return *impl_->tokenizer;
}
Program& TextModel::program() { return *impl_->program; }
const Plan& TextModel::plan() const { return impl_->program->plan(); }
i64 TextModel::context() const { return impl_->options.context; }
Bytes TextModel::bytes_beside() const {
  const TierId memory = impl_->program->machine().main_memory();
  Bytes own = plan().total_bytes(memory);
  for (const Reserve& r : plan().reserves)
    if (r.tier == memory && (r.name == kBinaryReserve || r.name == kOthersReserve)) own -= r.bytes;
  return own;
}
double TextModel::load_seconds() const { return impl_->load_seconds; }
i64 TextModel::position() const { return impl_->position; }

void TextModel::load(const HostOptions& options) {
  const double start = now();
#ifdef __GLIBC__
  ::malloc_trim(0);  // planning is over: what it held goes back before the arena is filled
#endif
  impl_->program->load(options);
  try {
    impl_->model.file.file().check_unchanged();  // the engine opened it anew, and watches it from then on
  } catch (const Error&) {
    impl_->program->unload();
    throw;
  }
  impl_->load_seconds = now() - start;
}

void TextModel::prefill(std::span<const i32> ids, Phase& phase, const std::atomic<bool>* cancel) {
  Impl& m = *impl_;
  if (ids.empty())
    throw Error(ErrorKind::usage, "there is no token to begin with", "prompt", "give a prompt of at least one token");
  if (m.position + static_cast<i64>(ids.size()) > m.options.context)
    throw Error(ErrorKind::usage,
                fmt::format("{} tokens after {} exceed the context of {}", ids.size(), m.position, m.options.context),
                "prompt", "raise --ctx or shorten the prompt");
  const double start = now();
  for (std::size_t i = 0; i < ids.size();) {
    if (cancel && cancel->load()) throw Error(ErrorKind::interrupted, "interrupted");
    const std::size_t count = std::min(ids.size() - i, static_cast<std::size_t>(m.chunk));
    m.step(ids.subspan(i, count), phase);
    i += count;
  }
  phase.seconds += now() - start;
}

std::span<const float> TextModel::logits() const {
  const TensorView v = impl_->program->output(impl_->logits);
  return {reinterpret_cast<const float*>(v.data),
          static_cast<std::size_t>(impl_->logit_rows * impl_->model.config.vocabulary)};
}

void TextModel::reset() {
  impl_->program->reset_state();
  impl_->position = 0;
}

GenerateResult TextModel::generate(std::span<const i32> prompt, const GenerateOptions& g) {
  Impl& m = *impl_;
  GenerateResult r;
  const i64 begin = m.position;
  // A table may have more rows than there are tokens, to make it even: they mean nothing.
  const i64 tokens = m.tokenizer ? m.tokenizer->size() : m.model.config.vocabulary;
  Sampler sampler(g.sampler, tokens);
  std::vector<i32> history(prompt.begin(), prompt.end());
  history.reserve(history.size() + static_cast<std::size_t>(std::max<i64>(g.max_tokens, 0)));
  const double start = now();
  prefill(prompt, r.prefill, g.cancel);
  r.stop = "length";
  double decode_start = 0;
  while (static_cast<i64>(r.output_ids.size()) < g.max_tokens) {
    if (!r.output_ids.empty()) {
      if (m.position >= m.options.context) break;
      m.step({&r.output_ids.back(), 1}, r.decode);
    }
    const i32 id = sampler.pick(logits().first(static_cast<std::size_t>(tokens)), history);
    if (r.output_ids.empty()) {
      decode_start = now();
      r.first_token_seconds = decode_start - start;
    }
    if (!g.ignore_eos && m.tokenizer && m.tokenizer->is_end_of_text(id)) {
      r.stop = "eos";
      break;
    }
    r.output_ids.push_back(id);
    history.push_back(id);
    if (g.on_token && !g.on_token(id)) {
      r.stop = "callback";
      break;
    }
    if (g.cancel && g.cancel->load()) {
      r.stop = "cancelled";
      break;
    }
  }
  r.decode.seconds = decode_start > 0 ? now() - decode_start : 0;

  m.add_bound(r.prefill, static_cast<i64>(prompt.size()), begin);
  for (i64 i = 0; i < r.decode.n_tokens; ++i) m.add_bound(r.decode, 1, begin + static_cast<i64>(prompt.size()) + i);
  if (begin == 0 && m.predicted_prompt == static_cast<i64>(prompt.size()) &&
      r.decode.n_tokens <= static_cast<i64>(m.predicted_decode.size())) {
    r.prefill.predicted_seconds = m.predicted_prefill;
    for (i64 i = 0; i < r.decode.n_tokens; ++i)
      r.decode.predicted_seconds += m.predicted_decode[static_cast<std::size_t>(i)];
  }
  return r;
}

void TextModel::predict(i64 prompt_tokens, i64 max_tokens) {
  Impl& m = *impl_;
  m.predicted_prefill = simulate(prompt_tokens, 0).prefill.predicted_seconds;
  m.predicted_prompt = prompt_tokens;
  m.predicted_decode.assign(static_cast<std::size_t>(std::max<i64>(0, max_tokens - 1)), 0);
  // The time of a step changes slowly with the position: steps between the simulated ones are interpolated.
  constexpr std::size_t kStride = 16, kSettle = 3;
  const std::size_t count = m.predicted_decode.size();
  std::size_t last = 0;
  for (std::size_t i = 0; i < count; i = i + 1 < count ? std::min(i + kStride, count - 1) : count) {
    const i64 at = prompt_tokens + static_cast<i64>(i);
    double seconds = 0;
    for (std::size_t k = 0; k < kSettle; ++k) seconds = m.program->predict(m.symbols(1, at)).totals.seconds;
    for (std::size_t j = last; j <= i; ++j) {
      const double share = i == last ? 1 : static_cast<double>(j - last) / static_cast<double>(i - last);
      m.predicted_decode[j] = m.predicted_decode[last] + share * (seconds - m.predicted_decode[last]);
    }
    last = i;
  }
  m.program->reset_prediction();
}

GenerateResult TextModel::simulate(i64 prompt_tokens, i64 decode_tokens, i64 begin) {
  Impl& m = *impl_;
  GenerateResult r;
  m.program->reset_prediction();
  const auto step = [&](Phase& phase, i64 count, i64 at) {
    const Trace& t = m.program->predict(m.symbols(count, at));
    phase.totals += t.totals;
    phase.predicted_seconds += t.totals.seconds;
    phase.n_tokens += count;
  };
  for (i64 i = 0; i < prompt_tokens; i += m.chunk) step(r.prefill, std::min(m.chunk, prompt_tokens - i), begin + i);
  m.add_bound(r.prefill, prompt_tokens, begin);
  for (i64 i = 0; i < decode_tokens; ++i) {
    step(r.decode, 1, begin + prompt_tokens + i);
    m.add_bound(r.decode, 1, begin + prompt_tokens + i);
  }
  m.program->reset_prediction();
  return r;
}

}  // namespace terrace
