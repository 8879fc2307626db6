#include "terrace/nn/parameters.h"

#include <cmath>
#include <numbers>

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

Attrs with_float(double x) {
  Attrs a;
  a.floats[0] = x;
  return a;
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
    const auto next = b.apply(ops::adamw, {wrt[i], m[i], v[i], g, u.rate}, a, parameters[i].name + "'");
    u.changed.insert(u.changed.end(), next.begin(), next.end());
  };
  const bool at_once = parts == 1 && o.clip == 0;
  for (i64 part = 0; part < parts; ++part) {
    ValueId mean = loss(part);
    if (parts > 1) mean = b.call(ops::scale, {mean}, with_float(1 / static_cast<double>(parts)));
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
      u.rate = b.call(ops::clip, {u.rate, u.squares}, with_float(o.clip), "clipped_rate");
    }
    for (std::size_t i = 0; i < wrt.size(); ++i) update(i, gradient[i]);
  }
  u.changed.push_back(b.call(ops::advance, {step}, {}, "step'"));
  return u;
}

}  // namespace terrace::nn
