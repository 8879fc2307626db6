// Checks and costs that several ops share.
#pragma once

#include <string>

#include "terrace/core/error.h"
#include "terrace/graph/op_def.h"

namespace terrace::ops {

inline void require(bool ok, const char* what) {
  if (!ok) throw Error(ErrorKind::usage, what);
}
inline bool is_dense(const TensorSpec& s, DType t = DType::f32) { return s.dtype == t && s.layout == Layout::dense; }
inline TensorSpec dense(Shape shape, DType t = DType::f32) { return {t, Layout::dense, shape}; }

inline constexpr Axis parallel_axis(std::string_view name, std::array<std::int8_t, kMaxOperands> of, i64 block = 1) {
  return {name, Axis::parallel, block, of};
}
inline constexpr Axis reduce_axis(std::string_view name, std::array<std::int8_t, kMaxOperands> of, i64 block) {
  return {name, Axis::reduce, block, of};
}

}  // namespace terrace::ops
