#include "terrace/plan/plan.h"

namespace terrace {

std::string_view name_of(Use u) {
  switch (u) {
    case Use::weights: return "weights";
    case Use::ring: return "ring";
    case Use::state: return "state";
    case Use::inputs: return "inputs";
    case Use::activations: return "activations";
    case Use::scratch: return "scratch";
    case Use::staging: return "staging";
  }
  return "?";
}

bool Body::holds(std::span<const i64> values) const {
  if (values.size() != symbols.size()) return false;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < symbols[i].lo || values[i] > symbols[i].hi) return false;
  return true;
}

u32 Plan::body_for(std::span<const i64> symbols) const {
  for (u32 b = 0; b < bodies.size(); ++b)
    if (!bodies[b].once && bodies[b].goals.empty() && bodies[b].holds(symbols)) return b;
  return kNone;
}

u32 Plan::find_body(std::string_view name) const {
  for (u32 b = 0; b < bodies.size(); ++b)
    if (bodies[b].name == name) return b;
  return kNone;
}

Bytes Plan::arena_bytes(TierId t) const {
  Bytes sum;
  for (const Arena& a : arenas)
    if (a.tier == t) sum += a.bytes;
  return sum;
}

Bytes Plan::total_bytes(TierId t) const {
  Bytes sum = arena_bytes(t);
  for (const Reserve& r : reserves)
    if (r.tier == t) sum += r.bytes;
  return sum;
}

}  // namespace terrace
