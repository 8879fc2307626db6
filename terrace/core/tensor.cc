#include "terrace/core/tensor.h"

#include "terrace/core/error.h"

namespace terrace {
namespace {
constexpr std::string_view kDTypes[] = {"f32", "f16", "i32", "f64", "bf16"};
constexpr std::string_view kLayouts[] = {"dense", "q8_0", "q4_0", "q4_1", "q8a"};

template <class E, std::size_t N>
bool find(std::string_view text, const std::string_view (&names)[N], E& out) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == text) return out = static_cast<E>(i), true;
  return false;
}
}  // namespace

std::string_view name_of(DType t) { return kDTypes[static_cast<int>(t)]; }
std::string_view name_of(Layout l) { return kLayouts[static_cast<int>(l)]; }
bool parse(std::string_view text, DType& out) { return find(text, kDTypes, out); }
bool parse(std::string_view text, Layout& out) { return find(text, kLayouts, out); }

bool Shape::operator==(const Shape& o) const {
  if (rank != o.rank) return false;
  for (int a = 0; a < rank; ++a)
    if (!((*this)[a] == o[a])) return false;
  return true;
}

i64 TensorSpec::rows(std::span<const i64> symbols) const {
  i64 n = 1;
  for (int a = 0; a + 1 < shape.rank; ++a) n *= shape[a].at(symbols);
  return n;
}

Bytes TensorSpec::bytes(std::span<const i64> symbols) const {
  return Bytes{row_bytes(dtype, layout, columns(symbols)) * static_cast<u64>(rows(symbols))};
}

TensorView make_view(const TensorSpec& spec, std::byte* data, std::span<const i64> symbols) {
  TensorView v;
  v.data = data;
  v.dtype = spec.dtype;
  v.layout = spec.layout;
  v.rank = spec.shape.rank;
  for (int a = 0; a < v.rank; ++a) v.dim[a] = spec.shape[a].at(symbols);
  if (v.rank == 0) return v;
  v.stride[v.rank - 1] = static_cast<i64>(row_bytes(v.dtype, Layout::dense, 1));
  i64 stride = static_cast<i64>(row_bytes(v.dtype, v.layout, v.dim[v.rank - 1]));
  for (int a = v.rank - 2; a >= 0; --a) {
    v.stride[a] = stride;
    stride *= v.dim[a];
  }
  return v;
}

TensorView slice(const TensorView& view, int axis, i64 begin, i64 end) {
  TensorView v = view;
  if (axis == v.rank - 1 && v.layout != Layout::dense) {
    if (v.layout == Layout::q8a || begin % kBlock != 0)
      throw Error(ErrorKind::failure, "a block layout cannot be cut there");
    v.data += row_bytes(v.dtype, v.layout, begin);
  } else {
    v.data += begin * v.stride[axis];
  }
  v.dim[axis] = end - begin;
  return v;
}

std::string to_string(const TensorSpec& spec, std::span<const std::string> symbol_names) {
  std::string s(spec.layout == Layout::dense ? name_of(spec.dtype) : name_of(spec.layout));
  s += '[';
  for (int a = 0; a < spec.shape.rank; ++a) {
    if (a) s += ", ";
    const Dim d = spec.shape[a];
    if (!d.is_symbol())
      s += std::to_string(d.value);
    else if (static_cast<std::size_t>(d.symbol) < symbol_names.size())
      s += symbol_names[static_cast<std::size_t>(d.symbol)];
    else
      s += "s" + std::to_string(d.symbol);
  }
  return s + "]";
}

}  // namespace terrace
