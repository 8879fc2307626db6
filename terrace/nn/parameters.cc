#include "terrace/nn/parameters.h"

#include <cmath>
#include <numbers>

#include "terrace/ops/fused.h"
#include "terrace/ops/gradient.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {
namespace {

/// Philox4x32-10 (Salmon et al. 2011).
void philox(u64 counter, u64 key, u32 (&out)[4]) {
  u32 c[4] = {static_cast<u32>(counter), static_cast<u32>(counter >> 32), 0, 0};
  u32 k0 = static_cast<u32>(key), k1 = static_cast<u32>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = u64{0xD2511F53} * c[0], p1 = u64{0xCD9E8D57} * c[2];
    const u32 c1 = c[1], c3 = c[3];
    c[0] = static_cast<u32>(p1 >> 32) ^ c1 ^ k0;
    c[1] = static_cast<u32>(p1);
    c[2] = static_cast<u32>(p0 >> 32) ^ c3 ^ k1;
    c[3] = static_cast<u32>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; ++i) out[i] = c[i];
}

Attrs with_floats(double x, double y = 0) {
  Attrs a;
  a.floats = {x, y, 0, 0};
  return a;
}

/// The next versions of w, m, v. floats = {b1, b2, eps, decay} as in ops::adamw.
std::vector<ValueId> adamw_in_parts(GraphBuilder& b, ValueId w, ValueId m, ValueId v, ValueId g, ValueId rate,
                                    const std::array<double, 4>& f, const std::string& name) {
  w = b.call(ops::rescale, {w, rate}, with_floats(1, -f[3]));
  m = b.call(ops::blend, {m, g, rate}, with_floats(f[0]), name + ".1");
  v = b.call(ops::rescale, {v, rate}, with_floats(f[1]));
  v = b.call(ops::add_square, {v, g, rate}, with_floats(f[1]), name + ".2");
  const ValueId root = b.call(ops::root, {v, rate}, with_floats(f[2]));
  return {b.call(ops::descend, {w, m, root, rate}, {}, name), m, v};
}

}  // namespace

void initialize(const Parameter& p, u64 seed, std::span<float> out) {
  u64 key = seed ^ 14695981039346656037u;  // FNV-1a over the name
  for (char c : p.name) key = (key ^ static_cast<unsigned char>(c)) * 1099511628211u;
  for (std::size_t i = 0; i < out.size(); i += 4) {
    u32 bits[4];
    philox(i / 4, key, bits);
    for (std::size_t j = 0; j < 4 && i + j < out.size(); j += 2) {
      const double u = (static_cast<double>(bits[j]) + 1) * 0x1p-32;  // in (0, 1]
      const double radius = p.deviation * std::sqrt(-2 * std::log(u));
      const double angle = 2 * std::numbers::pi * static_cast<double>(bits[j + 1]) * 0x1p-32;
      out[i + j] = static_cast<float>(p.deviation == 0 ? p.constant : radius * std::cos(angle));
      if (i + j + 1 < out.size())
        out[i + j + 1] = static_cast<float>(p.deviation == 0 ? p.constant : radius * std::sin(angle));
    }
  }
}

std::vector<Parameter> renumbered(std::span<const Parameter> parameters, std::span<const ValueId> to) {
  std::vector<Parameter> all(parameters.begin(), parameters.end());
  for (Parameter& p : all) p.value = to[p.value];
  return all;
}

Update renumbered(Update u, std::span<const ValueId> to) {
  for (ValueId* v : {&u.loss, &u.squares, &u.rate})
    if (*v != kNone) *v = to[*v];
  for (ValueId& v : u.changed) v = to[v];
  u.moments = renumbered(u.moments, to);
  return u;
}

namespace {

/// Adds the states that an optimizer keeps of a parameter, and its update.
class Updater {
 public:
  Updater(GraphBuilder& b, std::span<const Parameter> parameters, Update& u, const Optimizer& o)
      : b_(b), parameters_(parameters), u_(u), o_(o) {
    for (const Parameter& p : parameters) {
      kept_.emplace_back();
      for (const char* kind : std::holds_alternative<AdamW>(o) ? std::span<const char* const>(kMoments)
                                                               : std::span<const char* const>(kMoments).first(1)) {
        const std::string name = kind + p.name;
        kept_.back().push_back(b.state(name, b.spec(p.value)));
        u.moments.push_back({name, kept_.back().back(), 0, 0, false});
      }
    }
  }
  void update(std::size_t i, ValueId gradient) {
    const std::vector<ValueId> next =
        std::visit([&](const auto& o) { return apply(o, i, gradient, parameters_[i].name + "'"); }, o_);
    u_.changed.insert(u_.changed.end(), next.begin(), next.end());
  }

 private:
  static constexpr const char* kMoments[] = {"m.", "v."};

  std::vector<ValueId> apply(const AdamW& o, std::size_t i, ValueId g, const std::string& name) {
    Attrs a;
    a.floats = {o.beta1, o.beta2, o.eps, parameters_[i].decays ? o.decay : 0};
    const ValueId w = parameters_[i].value, m = kept_[i][0], v = kept_[i][1];
    return o.one_pass ? b_.apply(ops::adamw, {w, m, v, g, u_.rate}, a, name)
                      : adamw_in_parts(b_, w, m, v, g, u_.rate, a.floats, name);
  }
  std::vector<ValueId> apply(const Sgd& o, std::size_t i, ValueId g, const std::string& name) {
    Attrs a;
    a.floats = {o.momentum, parameters_[i].decays ? o.decay : 0, 0, 0};
    return b_.apply(ops::sgd, {parameters_[i].value, kept_[i][0], g, u_.rate}, a, name);
  }

  GraphBuilder& b_;
  std::span<const Parameter> parameters_;
  Update& u_;
  const Optimizer& o_;
  std::vector<std::vector<ValueId>> kept_;  ///< by parameter
};

Attrs schedule_of(const Optimizer& optimizer) {
  Attrs a;
  std::visit(
      [&](const auto& o) {
        a.ints = {o.warm_up, o.steps, 0, 0};
        a.floats = {o.rate, o.least_rate, 0, 0};
      },
      optimizer);
  if (const auto* o = std::get_if<AdamW>(&optimizer)) {
    a.floats[2] = o->beta1;
    a.floats[3] = o->beta2;
  }
  return a;
}

}  // namespace

Update add_optimizer(GraphBuilder& b, const std::function<ValueId(i64)>& loss, i64 parts,
                     std::span<const Parameter> parameters, ValueId step, const Optimizer& o) {
  Update u;
  u.rate = b.call(ops::learning_rate, {step}, schedule_of(o), "rate");
  std::vector<ValueId> wrt, gradient(parameters.size(), kNone);
  for (const Parameter& p : parameters) wrt.push_back(p.value);
  Updater updater(b, parameters, u, o);
  const double clip = std::visit([](const auto& x) { return x.clip; }, o);
  const bool at_once = parts == 1 && clip == 0;
  for (i64 part = 0; part < parts; ++part) {
    ValueId mean = loss(part);
    if (parts > 1) mean = b.call(ops::scale, {mean}, with_floats(1 / static_cast<double>(parts)));
    const auto of_part = gradients(b, mean, wrt, [&](std::size_t i, ValueId g) {
      if (at_once) updater.update(i, g);
    });
    u.loss = part == 0 ? mean : b.call(ops::add, {u.loss, mean});
    for (std::size_t i = 0; i < wrt.size(); ++i)
      gradient[i] = part == 0 ? of_part[i] : b.call(ops::add, {gradient[i], of_part[i]});
  }
  if (!at_once) {
    if (clip > 0) {
      for (ValueId g : gradient) {
        const ValueId s = b.call(ops::total, {b.call(ops::square_sums, {g})});
        u.squares = u.squares == kNone ? s : b.call(ops::add, {u.squares, s});
      }
      u.rate = b.call(ops::clip, {u.rate, u.squares}, with_floats(clip), "clipped_rate");
    }
    for (std::size_t i = 0; i < wrt.size(); ++i) updater.update(i, gradient[i]);
  }
  u.changed.push_back(b.call(ops::advance, {step}, {}, "step'"));
  return u;
}

Update add_adamw(GraphBuilder& b, const std::function<ValueId(i64)>& loss, i64 parts,
                 std::span<const Parameter> parameters, ValueId step, const AdamW& o) {
  return add_optimizer(b, loss, parts, parameters, step, o);
}

}  // namespace terrace::nn
