// Writing GGUF files of version 3: models and adapters, for this program and for others.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/new_file.h"
#include "terrace/io/gguf.h"

namespace terrace::io {

/// Keys and values, in the order of the calls.
class GgufKeys {
 public:
  void text(std::string_view key, std::string_view value);
  void number(std::string_view key, u32 value);
  void real(std::string_view key, float value);
  /// An entry of a file as it stands there, array or not.
  void copy(const GgufFile& file, const GgufEntry& entry);

 private:
  friend class GgufWriter;
  std::string bytes_;
  u64 count_ = 0;
};

struct NewGgufTensor {
  std::string name;  ///< at most 63 bytes
  TensorSpec spec;   ///< constant extents, in a format of files: F32, F16, Q8_0, Q4_0 or Q4_1
};

/// Writes a file that appears whole or not at all (core/new_file.h). Errors are Error(failure).
class GgufWriter {
 public:
  GgufWriter(const std::string& path, const GgufKeys& keys, std::vector<NewGgufTensor> tensors);
  /// The bytes of the tensors in their order, in pieces that do not reach over a tensor's end.
  void append(std::span<const std::byte> bytes);
  /// The file gets its name. Bytes that are still missing are an error. Without it no file appears.
  void close();

 private:
  std::vector<NewGgufTensor> tensors_;
  std::size_t current_ = 0;  // tensor
  u64 left_ = 0;             // of its bytes
  NewFile file_;
};

}  // namespace terrace::io
