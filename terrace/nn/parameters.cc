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

Update add_adamw(GraphBuilder& b, const std::function<ValueId(i64)>& loss, i64 parts,
                 std::span<const Parameter> parameters, ValueId step, const AdamW& o) {
  Update u;
  Attrs schedule;
  schedule.ints = {o.warm_up, o.steps, 0, 0};
  schedule.floats = {o.rate, o.least_rate, o.beta1, o.beta2};
  u.rate = b.call(ops::learning_rate, {step}, schedule, "rate");

  std::vector<ValueId> wrt, m, v, gradient(parameters.size(), kNone);
  for (const Parameter& p : parameters) {
    wrt.push_back(p.value);
    for (auto* moments : {&m, &v}) {
      const std::string name = (moments == &m ? "m." : "v.") + p.name;
      moments->push_back(b.state(name, b.spec(p.value)));
      u.moments.push_back({name, moments->back(), 0, 0, false});
    }
  }
  const auto update = [&](std::size_t i, ValueId g) {
    Attrs a;
    a.floats = {o.beta1, o.beta2, o.eps, parameters[i].decays ? o.decay : 0};
    const std::string name = parameters[i].name + "'";
    const auto next = o.one_pass ? b.apply(ops::adamw, {wrt[i], m[i], v[i], g, u.rate}, a, name)
                                 : adamw_in_parts(b, wrt[i], m[i], v[i], g, u.rate, a.floats, name);
    u.changed.insert(u.changed.end(), next.begin(), next.end());
  };
  const bool at_once = parts == 1 && o.clip == 0;
  for (i64 part = 0; part < parts; ++part) {
    ValueId mean = loss(part);
    if (parts > 1) mean = b.call(ops::scale, {mean}, with_floats(1 / static_cast<double>(parts)));
    const auto of_part = gradients(b, mean, wrt, [&](std::size_t i, ValueId g) {
      if (at_once) update(i, g);
    });
    u.loss = part == 0 ? mean : b.call(ops::add, {u.loss, mean});
    for (std::size_t i = 0; i < wrt.size(); ++i)
      gradient[i] = part == 0 ? of_part[i] : b.call(ops::add, {gradient[i], of_part[i]});
  }
  if (!at_once) {
    if (o.clip > 0) {
      for (ValueId g : gradient) {
        const ValueId s = b.call(ops::total, {b.call(ops::square_sums, {g})});
        u.squares = u.squares == kNone ? s : b.call(ops::add, {u.squares, s});
      }
      u.rate = b.call(ops::clip, {u.rate, u.squares}, with_floats(o.clip), "clipped_rate");
    }
    for (std::size_t i = 0; i < wrt.size(); ++i) update(i, gradient[i]);
  }
  u.changed.push_back(b.call(ops::advance, {step}, {}, "step'"));
  return u;
}

}  // namespace terrace::nn
