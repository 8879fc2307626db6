// Tensors of a GGUF file as floats, whatever their format.
#pragma once

#include <span>

#include "terrace/io/gguf.h"

namespace terrace {

/// Rows `first` .. of a tensor, as many as `out` has room for (whole ones). Through 64 KiB, or one row if that is more.
void read_floats(const io::GgufFile& file, const io::GgufTensor& tensor, i64 first, std::span<float> out);

}  // namespace terrace
