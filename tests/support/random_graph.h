// Small random networks, random bytes for their weights, and a weight file: what tests of plans and engines run on.
// Everything depends on the seed alone, on every platform.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "terrace/graph/graph.h"
#include "terrace/ops/ops.h"
#include "terrace/plan/plan.h"

namespace terrace::testing {

/// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}
  u64 next() {
    u64 z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// One of 0 .. n-1.
  i64 below(i64 n) { return static_cast<i64>(next() % static_cast<u64>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T, std::size_t N>
  T pick(const T (&a)[N]) {
    return a[static_cast<std::size_t>(below(static_cast<i64>(N)))];
  }
  /// In [-1, 1).
  float real() { return static_cast<float>(next() >> 40) * (1.0f / 8388608.0f) - 1.0f; }

 private:
  u64 state_;
};

/// IEEE half of a number whose size lies in [2^-14, 65504), or of zero; truncated.
inline std::uint16_t small_half(float f) {
  u32 b;
  std::memcpy(&b, &f, 4);
  const auto sign = static_cast<std::uint16_t>((b >> 16) & 0x8000);
  const int exponent = static_cast<int>((b >> 23) & 0xff) - 127 + 15;
  if (exponent <= 0) return sign;
  return static_cast<std::uint16_t>(sign | exponent << 10 | ((b >> 13) & 0x3ff));
}

/// Packed bytes of a weight: numbers of about 1 / sqrt(columns), so that activations stay of order one; near one for
/// vectors (weights of norms).
inline std::vector<std::byte> random_weight(const TensorSpec& spec, u64 seed) {
  Random r(seed);
  std::vector<std::byte> bytes(spec.bytes({}).count);
  const i64 columns = spec.columns({}), elements = columns * spec.rows({});
  const float scale = 1.7f / std::sqrt(static_cast<float>(columns));
  std::byte* p = bytes.data();
  auto put = [&p](const auto& x) {
    std::memcpy(p, &x, sizeof x);
    p += sizeof x;
  };
  auto half = [&](float f) { put(small_half(f)); };
  auto bits = [&](int n) {
    for (int i = 0; i < n; ++i) put(static_cast<std::uint8_t>(r.next() >> 11));
  };
  if (spec.layout == Layout::dense) {
    for (i64 i = 0; i < elements; ++i) {
      const float f = spec.shape.rank == 1 ? 1.0f + 0.25f * r.real() : scale * r.real();
      if (spec.dtype == DType::f16)
        half(f);
      else if (spec.dtype == DType::f32)
        put(f);
      else
        put(static_cast<i32>(r.below(100)));
    }
    return bytes;
  }
  for (i64 b = 0; b < elements / kBlock; ++b) {
    const float d = scale * (1.0f + 0.5f * r.real());
    switch (spec.layout) {
      case Layout::q8_0:
        half(d / 128.0f);
        bits(32);
        break;
      case Layout::q4_0:
        half(d / 8.0f);
        bits(16);
        break;
      case Layout::q4_1:
        half(d / 8.0f);
        half(-d * 15.0f / 16.0f);
        bits(16);
        break;
      default: break;
    }
  }
  return bytes;
}

/// `count` ids of rows of a table, little-endian i32.
inline std::vector<i32> random_ids(i64 count, i64 rows, u64 seed) {
  Random r(seed);
  std::vector<i32> ids;
  for (i64 i = 0; i < count; ++i) ids.push_back(static_cast<i32>(r.below(rows)));
  return ids;
}

/// Weights of a graph as one file: bytes, and where each lies (whole values, Owner::file 0, tier as given).
struct WeightFile {
  std::vector<std::byte> bytes;
  std::vector<Placement> weights;
};

inline WeightFile weight_file(const Graph& g, u64 seed, TierId file_tier) {
  WeightFile f;
  f.bytes.resize(static_cast<std::size_t>(96 + 32 * (seed % 29)));  // a header, so that nothing starts on a granule
  for (ValueId v = 0; v < g.values().size(); ++v) {
    if (g.value(v).kind != ValueKind::weight) continue;
    const auto w = random_weight(g.value(v).spec, seed * 1000003 + v);
    Placement p;
    p.value = v;
    p.tier = file_tier;
    p.owner = Owner::file;
    p.use = Use::weights;
    p.file = 0;
    p.offset = f.bytes.size();
    p.bytes = Bytes{w.size()};
    f.weights.push_back(p);
    f.bytes.insert(f.bytes.end(), w.begin(), w.end());
    f.bytes.resize(round_up(f.bytes.size(), 32));
  }
  return f;
}

/// Symbol 0 is n (rows in this step), symbol 1 is pos (rows before it); pos + n never exceeds the caches' rows when
/// both keep to their bounds. Input 0 is "ids" (i32[n], rows of "table"); there may be an f32 input "extra" [n, width].
class GraphMaker {
 public:
  explicit GraphMaker(u64 seed) : r_(seed * 7919 + 17) {}

  Graph make() {
    n_ = b_.symbol("n", n_max_ = r_.pick({4, 8, 13, 16}));
    pos_ = b_.symbol("pos", pos_max_ = r_.pick({16, 23, 40}));
    k_ = r_.pick({64, 96, 128, 192});
    x_ = embed();
    if (r_.chance(40)) x_ = b_.call(ops::add, {x_, b_.input("extra", f32(k_))});
    const i64 layers = 1 + r_.below(3);
    for (layer_ = 0; layer_ < layers; ++layer_) {
      if (r_.chance(70)) attend();
      if (r_.chance(70)) feed_forward();
      if (r_.chance(50)) branch();
    }
    if (!has_state_) attend();
    finish_outputs();
    return b_.finish();
  }

 private:
  TensorSpec f32(i64 width) const { return {DType::f32, Layout::dense, {Dim::of(n_), Dim(width)}}; }
  std::string name(const char* what) {
    return "l" + std::to_string(layer_) + "." + what + "." + std::to_string(names_++);
  }

  TensorSpec matrix(i64 rows, i64 columns) {
    const std::pair<DType, Layout> formats[] = {{DType::f32, Layout::dense}, {DType::f16, Layout::dense},
                                                {DType::f32, Layout::q8_0},  {DType::f32, Layout::q8_0},
                                                {DType::f32, Layout::q4_0},  {DType::f32, Layout::q4_0},
                                                {DType::f32, Layout::q4_1},  {DType::f32, Layout::q4_1}};
    const auto f = r_.pick(formats);
    return {f.first, f.second, {Dim(rows), Dim(columns)}};
  }
  ValueId matrix_weight(const char* what, i64 rows, i64 columns) {
    return b_.weight(name(what), matrix(rows, columns));
  }
  ValueId norm(ValueId x) {
    const i64 k = b_.spec(x).shape.last().value;
    Attrs a;
    a.floats[0] = 1e-5;
    return b_.call(ops::rms_norm, {x, b_.weight(name("norm"), {DType::f32, Layout::dense, {Dim(k)}})}, a);
  }
  /// x w^T, in 8 bits when `q` (x quantized) is given and the weight allows it.
  ValueId product(ValueId x, ValueId q, ValueId w) {
    const bool blocks = b_.spec(w).layout != Layout::dense;
    return b_.call(ops::linear, {blocks && q != kNone ? q : x, w});
  }
  ValueId maybe_quantize(ValueId x) { return r_.chance(60) ? b_.call(ops::quantize, {x}) : kNone; }
  Attrs at_pos() const {
    Attrs a;
    a.symbols[0] = pos_;
    return a;
  }

  ValueId embed() {
    const i64 rows = r_.pick({80, 100, 160, 256});
    const ValueId ids = b_.input("ids", {DType::i32, Layout::dense, {Dim::of(n_)}});
    table_ = b_.weight("table", matrix(rows, k_));
    const ValueId taken = b_.call(ops::take_rows, {table_, ids});
    const TensorSpec& s = b_.spec(taken);
    return s.layout == Layout::dense && s.dtype == DType::f32 ? taken : b_.call(ops::dequantize, {taken});
  }

  void attend() {
    has_state_ = true;
    const i64 head = 32, heads = k_ / head;
    i64 groups = 1 + r_.below(heads);
    while (heads % groups != 0) --groups;
    const i64 kv = groups * head;
    const ValueId h = norm(x_), hq = maybe_quantize(h);
    ValueId q = product(h, hq, matrix_weight("q", k_, k_)), k = product(h, hq, matrix_weight("k", kv, k_));
    const ValueId v = product(h, hq, matrix_weight("v", kv, k_));
    if (r_.chance(70)) {
      if (angles_ == kNone) {
        Attrs a = at_pos();
        a.ints[0] = r_.pick({16, 32});
        a.floats[0] = 10000;
        angles_ = b_.call(ops::rope_angles, {x_}, a);
      }
      Attrs a;
      a.ints[0] = head;
      q = b_.call(ops::rope, {q, angles_}, a);
      k = b_.call(ops::rope, {k, angles_}, a);
    }
    const std::pair<DType, Layout> formats[] = {
        {DType::f16, Layout::dense}, {DType::f32, Layout::q8_0}, {DType::f32, Layout::dense}};
    const auto f = r_.pick(formats);
    const TensorSpec cache{f.first, f.second, {Dim(pos_max_ + n_max_), Dim(kv)}};
    const ValueId keys = b_.call(ops::append_rows, {b_.state(name("keys"), cache), k}, at_pos());
    const ValueId values = b_.call(ops::append_rows, {b_.state(name("values"), cache), v}, at_pos());
    Attrs a = at_pos();
    a.ints = {heads, groups, 0, 0};
    a.floats[0] = 1.0 / std::sqrt(static_cast<double>(head));
    const ValueId y = b_.call(ops::attention, {q, keys, values}, a);
    x_ = b_.call(ops::add, {x_, product(y, maybe_quantize(y), matrix_weight("o", k_, k_))});
  }

  void feed_forward() {
    const i64 width = k_ + 32 * (1 + r_.below(4));
    const ValueId h = norm(x_), hq = maybe_quantize(h);
    const ValueId gate = product(h, hq, matrix_weight("gate", width, k_));
    const ValueId up = product(h, hq, matrix_weight("up", width, k_));
    const ValueId y =
        r_.chance(60) ? b_.call(ops::silu_mul, {gate, up}) : b_.call(ops::mul, {b_.call(ops::silu, {gate}), up});
    x_ = b_.call(ops::add, {x_, product(y, maybe_quantize(y), matrix_weight("down", k_, width))});
  }

  /// Two ways that share a weight, one of them through a softmax.
  void branch() {
    if (shared_ == kNone || r_.chance(50)) shared_ = matrix_weight("shared", k_, k_);
    const ValueId left = norm(x_), right = b_.call(ops::silu, {x_});
    const ValueId a = product(left, maybe_quantize(left), shared_);
    const ValueId b = b_.call(ops::softmax, {product(right, maybe_quantize(right), shared_)});
    const ValueId y = b_.call(ops::mul, {a, b});
    x_ = b_.call(r_.chance(50) ? ops::add : ops::mul, {x_, y});
    x_ = b_.call(ops::add, {x_, right});
    if (r_.chance(50)) b_.output(y);
  }

  void finish_outputs() {
    layer_ = 9;
    const ValueId last = norm(b_.call(ops::last_rows, {x_}));
    const ValueId w = r_.chance(50) ? table_ : matrix_weight("out", 32 * (2 + r_.below(6)) + r_.below(17), k_);
    const ValueId logits = product(last, maybe_quantize(last), w);
    b_.output(logits);
    if (r_.chance(50)) b_.output(b_.call(ops::softmax, {logits}));
    if (r_.chance(50)) b_.output(x_);
  }

  GraphBuilder b_;
  Random r_;
  SymbolId n_ = 0, pos_ = 0;
  i64 k_ = 0, n_max_ = 0, pos_max_ = 0, layer_ = 0, names_ = 0;
  ValueId x_ = kNone, table_ = kNone, angles_ = kNone, shared_ = kNone;
  bool has_state_ = false;
};

inline Graph random_graph(u64 seed) { return GraphMaker(seed).make(); }

}  // namespace terrace::testing
