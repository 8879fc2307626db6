// Bodies of graphs without symbols, and what their values hold.
#pragma once

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "terrace/plan/planner/planner.h"

namespace terrace::testing {

inline BodyRequest body(const char* name, std::vector<ValueId> goals = {}) {
  BodyRequest b;
  b.name = name;
  b.goals = std::move(goals);
  return b;
}

inline std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> f(bytes.size() / 4);
  std::memcpy(f.data(), bytes.data(), bytes.size());
  return f;
}
inline std::span<std::byte> bytes_of(const TensorView& v) {
  return {v.data, static_cast<std::size_t>(packed_bytes(v).count)};
}

}  // namespace terrace::testing
