// terrace bench attention: every byte that attention's kernels move across a cache, counted as they run.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "terrace/cli/json.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/training/bench.h"
#include "terrace/cli/training/curve_svg.h"
#include "terrace/core/error.h"
#include "terrace/kernels/cpu/flash.h"
#include "terrace/kernels/cpu/ledger.h"
#include "terrace/kernels/cpu/standard_attention.h"
#include "terrace/nn/parameters.h"

namespace terrace::cli {
namespace {

struct Shape3 {
  i64 heads = 16, length = 1024, head_size = 64, batch = 1;
  bool causal = false;
  i64 wide() const { return heads * head_size; }
};

/// f32 [1, rows, columns], lines of the cache shared with nobody.
class Tensor {
 public:
  Tensor(i64 rows, i64 columns, bool random)
      : data_(static_cast<float*>(std::aligned_alloc(4096, round_up(static_cast<u64>(4 * rows * columns), 4096)))) {
    if (!data_) throw std::bad_alloc();
    const std::span<float> all(data_.get(), static_cast<std::size_t>(rows * columns));
    nn::initialize({"operand", kNone, random ? 1.0 : 0.0, 0, false}, reinterpret_cast<u64>(this), all);
    view.data = reinterpret_cast<std::byte*>(data_.get());
    view.rank = 3;
    const i64 dims[] = {1, rows, columns}, strides[] = {4 * rows * columns, 4 * columns, 4};
    std::copy_n(dims, 3, view.dim);
    std::copy_n(strides, 3, view.stride);
  }
  float* floats() const { return data_.get(); }
  TensorView view;

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
};

using Traffic = AttentionLedger::Traffic;
struct Counts {
  AttentionLedger forward, backward;
  u64 moved() const { return forward.total().moved() + backward.total().moved(); }
};

/// Operands of one batch element: heads and batch elements are independent.
class Attention {
 public:
  explicit Attention(const Shape3& s)
      : s_(s),
        q_(s.length, s.wide(), true),
        k_(s.length, s.wide(), true),
        v_(s.length, s.wide(), true),
        o_(s.length, s.wide(), false),
        lse_(s.heads, s.length, false),
        d_o_(s.length, s.wide(), true),
        dq_(s.length, s.wide(), false),
        dk_(s.length, s.wide(), false),
        dv_(s.length, s.wide(), false) {}

  Counts flash(Bytes cache) {
    const bool fast = best_isa() >= Isa::avx2;
    Counts c{AttentionLedger(cache), AttentionLedger(cache)};
    const u64 scratch =
        std::max(flash_scratch(s_.head_size, s_.length, s_.length), flash_grad_scratch(s_.head_size, s_.length));
    Tensor room(1, static_cast<i64>(scratch / 4), false);
    call(
        [&](KernelArgs a) {
          a.scratch = room.view.data;
          a.scratch_bytes = scratch;
          (fast ? avx2::flash_attention_counted : portable::flash_attention_counted)(a, c.forward);
        },
        {q_.view, k_.view, v_.view}, {o_.view, lse_.view});
    c.forward.flush();
    call(
        [&](KernelArgs a) {
          a.scratch = room.view.data;
          a.scratch_bytes = scratch;
          (fast ? avx2::flash_attention_grad_counted : portable::flash_attention_grad_counted)(a, c.backward);
        },
        {q_.view, k_.view, v_.view, o_.view, lse_.view, d_o_.view}, {dq_.view, dk_.view, dv_.view});
    c.backward.flush();
    return c;
  }

  Counts standard(Bytes cache) {
    Counts c{AttentionLedger(cache), AttentionLedger(cache)};
    const i64 rows = s_.heads * s_.length;
    Tensor scores(rows, s_.length, false), weights(rows, s_.length, false), other(rows, s_.length, false);
    call([&](const KernelArgs& a) { standard_attention(a, scores.floats(), weights.floats(), c.forward); },
         {q_.view, k_.view, v_.view}, {o_.view, lse_.view});
    c.forward.flush();
    call(
        [&](const KernelArgs& a) {
          standard_attention_grad(a, weights.floats(), scores.floats(), other.floats(), c.backward);
        },
        {q_.view, k_.view, v_.view, o_.view, lse_.view, d_o_.view}, {dq_.view, dk_.view, dv_.view});
    c.backward.flush();
    return c;
  }

  /// Each input once and each output once: forward q, k, v, o, lse; backward these, do, dq, dk, dv.
  u64 compulsory_forward() const { return 4 * operand() + lse(); }
  u64 compulsory_backward() const { return 8 * operand() + lse(); }
  u64 compulsory() const { return compulsory_forward() + compulsory_backward(); }

 private:
  template <class F>
  void call(F f, std::vector<TensorView> in, std::vector<TensorView> out) const {
    const i64 ints[] = {s_.heads, s_.heads, s_.causal, 0};
    const double floats[] = {1 / std::sqrt(static_cast<double>(s_.head_size)), 0, 0, 0};
    KernelArgs a;
    a.in = in.data();
    a.out = out.data();
    a.ints = ints;
    a.floats = floats;
    f(a);
  }

  u64 operand() const { return static_cast<u64>(4 * s_.length * s_.wide()); }
  u64 lse() const { return static_cast<u64>(4 * s_.heads * s_.length); }

  Shape3 s_;
  Tensor q_, k_, v_, o_, lse_, d_o_, dq_, dk_, dv_;
};

double in_mib(u64 bytes) { return static_cast<double>(bytes) / 1048576.0; }

/// A row of the table and of the document: medians of counts are the counts.
void add_row(std::FILE* out, Json& rows, const std::string& name, Traffic t, u64 batch, u64 bound) {
  const u64 bytes = t.moved() * batch;
  bound *= batch;
  fmt::print(out, "{:<28}{:>12.2f}{:>14.3f}\n", name, in_mib(bytes),
             static_cast<double>(bytes) / static_cast<double>(bound));
  Json r = Json::object();
  r.add("name", name).add("median", bytes).add("min", bytes).add("max", bytes).add("bound", bound).add("unit", "bytes");
  r.add("missed", (t.fetched + t.claimed) * batch);
  rows.push(r);
}

void add_operands(std::FILE* out, const char* direction, const AttentionLedger& ledger) {
  for (int i = 0; i < kAttentionOperands; ++i) {
    const auto o = static_cast<AttentionOperand>(i);
    const Traffic& t = ledger.of(o);
    if (t.fetched + t.claimed + t.returned == 0) continue;
    fmt::print(out, "  {:<8} {:<17}{:>12.2f}{:>14.2f}\n", direction, name_of(o), in_mib(t.fetched), in_mib(t.returned));
  }
}

void draw(const std::string& path, Attention& attention, const Shape3& s) {
  Chart c;
  c.title = fmt::format("Bytes that attention moves: {} heads of {}, length {}", s.heads, s.head_size, s.length);
  c.x_label = "cache, MiB";
  c.y_label = "times the compulsory bytes";
  c.log_y = true;
  c.curves = {{"flash", {}, false}, {"standard", {}, false}};
  const auto least = static_cast<double>(attention.compulsory());
  Bar bar("counting");
  for (u64 kib = 256; kib <= 4096 && !cancelled().load(); kib += kib < 1536 ? 128 : 512) {
    bar.show(static_cast<double>(kib) / 4096);
    const double mib = static_cast<double>(kib) / 1024;
    c.curves[0].points.emplace_back(mib, static_cast<double>(attention.flash(Bytes{kib << 10}).moved()) / least);
    c.curves[1].points.emplace_back(mib, static_cast<double>(attention.standard(Bytes{kib << 10}).moved()) / least);
  }
  bar.clear();
  write_file(path, curve_svg(c));
}

}  // namespace

int bench_attention(const Args& args) {
  Shape3 s;
  s.heads = args.integer("heads", 16, 1, 1024);
  s.length = args.integer("length", 1024, 1, 1 << 14);
  s.head_size = args.integer("head-size", 64, 1, 256);
  s.batch = args.integer("batch", 64, 1, 1 << 20);
  s.causal = args.has("causal");
  const Bytes cache = parse_size(args.text("cache", "1MiB"), std::nullopt, "--cache");
  if (cache.count < 4096 || cache > 1_GiB) throw Error(ErrorKind::usage, "is not in 4 KiB .. 1 GiB", "--cache");
  Attention attention(s);
  const Counts flash = attention.flash(cache), standard = attention.standard(cache);
  const auto batch = static_cast<u64>(s.batch);
  const u64 least = attention.compulsory() * batch;

  std::FILE* out = text_stream(args);
  fmt::print(
      out,
      "attention, {} heads of {}, length {}, batch {} (one element counted, times {}), fp32{}, across a cache of {}\n"
      "compulsory (each operand once, forward and backward): {:.2f} MiB\n\n{:<28}{:>12}{:>14}\n",
      s.heads, s.head_size, s.length, s.batch, s.batch, s.causal ? ", causal" : "", human(cache), in_mib(least),
      "moved", "MiB", "x compulsory");
  Json rows = Json::array();
  for (const auto& [name, counts] : {std::pair<std::string, const Counts&>{"flash", flash}, {"standard", standard}}) {
    Traffic both = counts.forward.total();
    both += counts.backward.total();
    add_row(out, rows, name + " forward", counts.forward.total(), batch, attention.compulsory_forward());
    add_row(out, rows, name + " backward", counts.backward.total(), batch, attention.compulsory_backward());
    add_row(out, rows, name, both, batch, attention.compulsory());
  }
  fmt::print(out, "\nstandard / flash {:.2f}\n\n{:<28}{:>12}{:>14}\n",
             static_cast<double>(standard.moved()) / static_cast<double>(flash.moved()), "flash, one element, MiB",
             "fetched", "written back");
  add_operands(out, "forward", flash.forward);
  add_operands(out, "backward", flash.backward);
  if (const auto file = args.text("out")) draw(*file, attention, s);
  Json doc = document("bench");
  doc.add("what", "attention").add("cache_bytes", cache).add("compulsory_bytes", least).add("rows", rows);
  write_document(args, doc);
  return 0;
}

}  // namespace terrace::cli
