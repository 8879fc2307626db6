// Rates of kernels: each is called as an engine would call it, on operands made up for its op.
#include <algorithm>
#include <array>
#include <cstring>

#include "terrace/ops/ops.h"
#include "terrace/program/probe_parts.h"

namespace terrace::probe {
namespace {

constexpr i64 kColumns = 1024;  ///< of a row of weights or activations; a multiple of every block
constexpr i64 kManyRows = 64;   ///< activations of a prompt chunk
constexpr i64 kHeads = 8, kGroups = 4, kHead = 64, kContext = 512;

/// One application with sizes: everything a kernel call needs.
struct Call {
  const OpDef* op = nullptr;
  Attrs attrs;
  std::vector<TensorSpec> in, out;
  std::vector<TensorView> in_views, out_views;
  std::array<i64, 2> symbols{1, 0};  ///< rows, position
  std::vector<std::unique_ptr<HugeBuffer>> memory;
  std::unique_ptr<HugeBuffer> scratch;
  Cost cost;
  bool training = false;  ///< never a single row
};

TensorSpec spec(const Format& f, i64 rows, i64 columns) { return {f.dtype, f.layout, Shape{Dim(rows), Dim(columns)}}; }

/// Formats of the operands: the kernel's own, or f32 where it takes any.
Format format(const Kernel& k, std::size_t operand) {
  return operand < k.formats.size() ? k.formats[operand] : Format{};
}

/// Inputs and attributes of `op` for n rows of activations (r rows of weights); false for an op not known here.
bool make_inputs(const Kernel& k, i64 n, i64 r, Call& c) {
  const auto f = [&](std::size_t i) { return format(k, i); };
  c.attrs.symbols = {1, kNoSymbol};  // position
  if (k.op == "linear") {
    c.in = {spec(f(0), n, kColumns), spec(f(1), r, kColumns)};
  } else if (k.op == "attention") {
    c.attrs.ints = {kHeads, kGroups, 0, 0};
    c.attrs.floats[0] = 0.125;
    c.symbols[1] = n == 1 ? kContext - 1 : 0;  // a decode step sees a full cache, a prompt chunk itself
    c.in = {spec(f(0), n, kHeads * kHead), spec(f(1), kContext, kGroups * kHead),
            spec(f(2), kContext, kGroups * kHead)};
  } else if (k.op == "rms_norm") {
    c.attrs.floats[0] = 1e-5;
    c.in = {spec(f(0), n, kColumns), {DType::f32, Layout::dense, Shape{Dim(kColumns)}}};
  } else if (k.op == "rope_angles") {
    c.attrs.ints[0] = kHead;
    c.attrs.floats[0] = 1e4;
    c.in = {spec(f(0), n, kColumns)};
  } else if (k.op == "rope") {
    c.attrs.ints[0] = kHead;
    c.in = {spec(f(0), n, kColumns), spec(f(1), n, kHead)};
  } else if (k.op == "append_rows") {
    c.in = {spec(f(0), kContext, kColumns), spec(f(1), n, kColumns)};
  } else if (k.op == "take_rows") {
    c.in = {spec(f(0), kContext, kColumns), {DType::i32, Layout::dense, Shape{Dim(n)}}};
  } else if (k.op == "add" || k.op == "mul" || k.op == "silu_mul") {
    c.in = {spec(f(0), n, kColumns), spec(f(1), n, kColumns)};
  } else if (k.op == "quantize" || k.op == "dequantize" || k.op == "silu" || k.op == "softmax" || k.op == "last_rows") {
    c.in = {spec(f(0), n, kColumns)};
  } else {
    c.training = true;
    if (!training_inputs(k.op, n, r, c.attrs, c.in)) return false;
    if (k.op == "matmul") c.in[1].layout = f(1).layout;
  }
  take_formats(k, c.attrs, c.in);
  return true;
}

/// Fills in the rest. `weights`, if given, becomes the memory of input 1.
bool make_call(const Kernel& k, i64 n, i64 r, std::byte* weights, int workers, Call& c) {
  c.op = ops::find(k.op);
  c.symbols = {n, 0};
  if (!c.op || !make_inputs(k, n, r, c)) return false;
  c.out = c.op->infer(c.in, c.attrs);
  const auto view = [&](const TensorSpec& s, std::byte* at) {
    if (!at) at = c.memory.emplace_back(std::make_unique<HugeBuffer>(s.bytes(c.symbols).count))->data();
    return make_view(s, at, c.symbols);
  };
  for (std::size_t i = 0; i < c.in.size(); ++i) c.in_views.push_back(view(c.in[i], i == 1 ? weights : nullptr));
  for (std::size_t i = 0; i < c.in.size(); ++i)  // ids of rows and classes that there are
    if (c.in[i].dtype == DType::i32) std::memset(c.in_views[i].data, 0, c.in[i].bytes(c.symbols).count);
  for (std::size_t i = 0; i < c.out.size(); ++i)
    c.out_views.push_back(view(c.out[i], static_cast<int>(i) < c.op->in_place ? c.in_views[i].data : nullptr));
  const OpInstance instance{c.in_views, c.out_views, c.attrs, c.symbols};
  c.cost = c.op->cost(instance);
  c.scratch = std::make_unique<HugeBuffer>(c.op->scratch(instance, workers).count + 64);
  return true;
}

/// Seconds of one call on the whole team, each timed over enough calls that clocks and barriers do not count.
double time_call(const Kernel& k, const Call& c, Team& team, u64 cache_bytes, double seconds) {
  KernelArgs args;
  args.in = c.in_views.data();
  args.out = c.out_views.data();
  args.ints = c.attrs.ints.data();
  args.floats = c.attrs.floats.data();
  args.sym[0] = c.symbols[1];  // Attrs::symbols[0] is the position
  args.scratch = c.scratch->data();
  args.scratch_bytes = c.scratch->size();
  args.workers = team.size();
  args.core_cache_bytes = cache_bytes;
  int repeat = 1;
  const std::function<void(int)> job = [&](int worker) {
    KernelArgs mine = args;
    mine.worker = worker;
    for (int i = 0; i < repeat; ++i) {
      k.fn(mine);
      if (team.size() > 1 && i + 1 < repeat) team.barrier();  // the next call writes the same output
    }
  };
  // How often a batch repeats it follows from the shortest of a few: an interrupted one would make batches so short
  // that only barriers are timed. A long one needs no more tries.
  const double begin = now();
  double t = begin, once = 1;
  for (int tries = 0; tries < 8 && (tries < 1 || t - begin < 2e-2); ++tries) {
    team.run(job);
    const double ended = now();
    once = std::min(once, std::max(ended - t, 1e-8));
    t = ended;
  }
  repeat = static_cast<int>(std::clamp(1e-4 / once, 1.0, 1e4));
  std::vector<double> times;
  const double end = now() + seconds, latest = end + std::max(3 * seconds, 0.08);
  do {
    t = now();
    team.run(job);
    const double each = (now() - t) / repeat;
    if (each < once / 2) {  // all tries were interrupted
      once = std::max(each, 1e-8);
      repeat = static_cast<int>(std::clamp(1e-4 / once, 1.0, 1e4));
      times.clear();
    }
    times.push_back(each);
  } while (times.size() < (once > 5e-3 ? 2U : 3U) || now() < end || (now() < latest && !settled(times)));
  return undisturbed(times);
}

}  // namespace

std::vector<const Kernel*> choosable(const KernelTable& table, Isa isa) {
  std::vector<const Kernel*> out;
  for (const Kernel& k : table.all())
    if (k.isa != Isa::reference && k.isa <= isa && table.find(k.op, k.formats, isa) == &k) out.push_back(&k);
  return out;
}

bool kernel_rate(const Kernel& k, Team& team, const HugeBuffer& weights, u64 cache_bytes, double seconds,
                 UnitRate& out) {
  const bool linear = k.op == "linear";
  const Format w = format(k, 1);
  // Enough rows to fill half of one core's own cache, in the multiples that kernels like.
  const u64 row = std::max<u64>(row_bytes(w.dtype, w.layout, kColumns), 1);
  const auto cached = static_cast<i64>(std::max<u64>(round_down(cache_bytes / 2 / row, 16), 16));
  out.kernel = k.name;
  out.threads = team.size();
  const double share = seconds / (linear ? 3 : 2);

  Call many, one;
  const i64 few = std::min<i64>(cached, 256);
  if (!make_call(k, kManyRows, few, nullptr, team.size(), many)) return false;
  const double t_many = time_call(k, many, team, cache_bytes, many.training ? share / 2 : share);
  double t_one = t_many;
  out.peak.value = many.cost.flops / t_many;
  if (!many.training) {
    if (!make_call(k, 1, cached, nullptr, team.size(), one)) return false;
    t_one = time_call(k, one, team, cache_bytes, share);
    out.vector_peak.value = one.cost.flops / t_one;
  }
  if (linear) {
    Call streamed;
    const auto rows = static_cast<i64>(round_down(weights.size() / 2 / row, 16));
    if (!make_call(k, 1, rows, weights.data(), team.size(), streamed)) return false;
    out.stream.value =
        static_cast<double>(streamed.cost.total_read().count) / time_call(k, streamed, team, cache_bytes, share);
  } else if (k.op != "attention" && many.op->op_class != OpClass::optimizer) {  // whose operands are in main memory
    // Operands are activations, which stay in caches: the bytes never cost more than the operations.
    const double bytes = static_cast<double>((many.cost.total_read() + many.cost.total_write()).count);
    const double bytes_one = static_cast<double>((one.cost.total_read() + one.cost.total_write()).count);
    out.stream.value = std::max(bytes / t_many, bytes_one / t_one);
    if (many.cost.flops <= 0) out.peak.value = out.stream.value, out.vector_peak.value = 0;
  }
  return out.peak.value > 0;
}

}  // namespace terrace::probe
