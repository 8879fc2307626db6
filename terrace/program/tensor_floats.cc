#include "terrace/program/tensor_floats.h"

#include <algorithm>
#include <vector>

#include "terrace/kernels/cpu/kernels.h"

namespace terrace {

void read_floats(const io::GgufFile& file, const io::GgufTensor& tensor, i64 first, std::span<float> out) {
  const TensorSpec& spec = tensor.spec;
  const i64 columns = spec.columns({}), rows = static_cast<i64>(out.size()) / columns;
  const u64 row = row_bytes(spec.dtype, spec.layout, columns);
  const i64 at_once = std::max<i64>(1, static_cast<i64>((64 << 10) / row));
  std::vector<std::byte> bytes;
  for (i64 r = 0; r < rows; r += at_once) {
    const Shape some = {Dim(std::min(at_once, rows - r)), Dim(columns)};
    bytes.resize(static_cast<u64>(some[0].value) * row);
    file.file().read(tensor.offset + static_cast<u64>(first + r) * row, bytes);
    const TensorView in = make_view({spec.dtype, spec.layout, some}, bytes.data(), {});
    const TensorView floats =
        make_view({DType::f32, Layout::dense, some}, reinterpret_cast<std::byte*>(out.data() + r * columns), {});
    KernelArgs args;
    args.in = &in;
    args.out = &floats;
    portable::dequantize(args);
  }
}

}  // namespace terrace
