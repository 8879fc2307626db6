// GGUF version 3, read strictly (ggml docs/gguf.md; the limits of ggml's own loader).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "terrace/core/tensor.h"
#include "terrace/io/file.h"

namespace terrace::io {

enum class GgufType : std::uint8_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
std::string_view name_of(GgufType t);

/// A key and its value. Scalars and strings of at most 64 KiB are kept; arrays and longer strings stay in the file.
struct GgufEntry {
  std::string key;
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  ///< of an array
  u64 count = 1;                    ///< of an array
  u64 offset = 0, bytes = 0;        ///< of the value's bytes in the file (an array's elements; a string's characters)
  std::variant<u64, terrace::i64, double, bool, std::string> scalar;
};

struct GgufTensor {
  std::string name;
  TensorSpec spec;  ///< extents outermost first (GGUF stores them innermost first)
  u64 offset = 0;   ///< from the start of the file
  u64 bytes = 0;
};

/// The header of a GGUF file. Every count, offset and size is checked against the file before anything is allocated;
/// errors are Error(bad_file) with path, byte offset, and key or tensor.
class GgufFile {
 public:
  explicit GgufFile(std::string path);
  const std::string& path() const { return file_.path(); }
  u64 size() const { return file_.size(); }
  u64 data_offset() const { return data_offset_; }
  u64 alignment() const { return alignment_; }
  const std::vector<GgufEntry>& entries() const { return entries_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufEntry* find(std::string_view key) const;
  const GgufTensor* find_tensor(std::string_view name) const;
  /// A value of any integer type that fits / any float / string / bool; nothing if the key is absent; Error(bad_file)
  /// naming the key if it has another type.
  std::optional<u64> get_uint(std::string_view key) const;
  std::optional<double> get_float(std::string_view key) const;
  std::optional<std::string> get_string(std::string_view key) const;
  std::optional<bool> get_bool(std::string_view key) const;
  /// Streams the strings of an array; the view is valid during the call only.
  void each_string(const GgufEntry& array, const std::function<void(u64 index, std::string_view text)>& f) const;
  /// Streams an array of integers or floats as doubles.
  void each_number(const GgufEntry& array, const std::function<void(u64 index, double value)>& f) const;
  WindowedFile& file() const { return file_; }

 private:
  mutable WindowedFile file_;
  std::vector<GgufEntry> entries_;
  std::vector<GgufTensor> tensors_;
  u64 data_offset_ = 0, alignment_ = 32;
};

}  // namespace terrace::io
