// Checks and costs that several ops share.
#pragma once

#include <initializer_list>
#include <string>

#include "terrace/core/error.h"
#include "terrace/graph/op_def.h"
#include "terrace/ops/gradient.h"

namespace terrace::ops {

inline void require(bool ok, const char* what) {
  if (!ok) throw Error(ErrorKind::usage, what);
}
inline bool is_dense(const TensorSpec& s, DType t = DType::f32) { return s.dtype == t && s.layout == Layout::dense; }
/// A number that gradients flow through.
inline bool is_real(const TensorSpec& s) {
  return s.layout == Layout::dense && (s.dtype == DType::f32 || s.dtype == DType::f64 || s.dtype == DType::bf16);
}
/// Where an attribute chooses a result's type: 0: `own`, 1: f32, 2: bf16.
inline DType chosen_type(i64 code, DType own) {
  require(code >= 0 && code <= 2, "a type is 0 (the operand's), 1 (f32) or 2 (bf16)");
  require(code == 0 || own != DType::f64, "f64 stays f64");
  return code == 0 ? own : code == 1 ? DType::f32 : DType::bf16;
}
/// What chooses type `t` there.
inline i64 type_code(DType t, DType own) { return t == own ? 0 : t == DType::f32 ? 1 : 2; }
/// What sums and statistics of such numbers are kept in.
inline DType wide(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }
/// The elements of a tensor whose extents are constants.
inline double elements(const TensorSpec& s) {
  double n = 1;
  for (int a = 0; a < s.shape.rank; ++a) {
    require(!s.shape[a].is_symbol(), "needs constant extents");
    n *= static_cast<double>(s.shape[a].value);
  }
  return n;
}
inline Attrs with_float(double x) {
  Attrs a;
  a.floats[0] = x;
  return a;
}
inline Attrs with_int(i64 x) {
  Attrs a;
  a.ints[0] = x;
  return a;
}
inline TensorSpec dense(Shape shape, DType t = DType::f32) { return {t, Layout::dense, shape}; }

/// The tensor axis it runs along, for each operand; those not named do not have it.
inline constexpr Axis axis_of(std::string_view name, Axis::Kind kind, i64 block, std::initializer_list<int> of) {
  Axis a{name, kind, block};
  std::size_t i = 0;
  for (int x : of) a.of[i++] = static_cast<std::int8_t>(x);
  return a;
}
inline constexpr Axis parallel_axis(std::string_view name, std::initializer_list<int> of, i64 block = 1) {
  return axis_of(name, Axis::parallel, block, of);
}
inline constexpr Axis reduce_axis(std::string_view name, std::initializer_list<int> of, i64 block) {
  return axis_of(name, Axis::reduce, block, of);
}

}  // namespace terrace::ops
