// safetensors files (huggingface/safetensors, README "Format"): u64 length, a header of JSON, the tensors' bytes.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/core/new_file.h"
#include "terrace/core/tensor.h"
#include "terrace/io/file.h"

namespace terrace::io {

inline constexpr u64 kMaxSafeTensorsHeader = 100'000'000;  ///< the format's own limit

struct SafeTensor {
  std::string name;
  TensorSpec spec;  ///< dense, constant extents
  u64 offset = 0;   ///< of its bytes, from the start of the file
  u64 bytes = 0;
  u64 entry = 0;  ///< offset of its entry in the header, for messages
};

/// The header of a safetensors file. Read strictly: offsets without holes or overlaps to the last byte of the file, no
/// key twice, nothing that the format does not name. Element types F64, F32, F16, BF16 and I32, at most four
/// dimensions. Nothing is allocated that the file does not justify; errors are Error(bad_file) with path, byte offset
/// and tensor or key.
class SafeTensorsFile {
 public:
  explicit SafeTensorsFile(std::string path);
  const std::string& path() const { return file_.path(); }
  u64 size() const { return file_.size(); }
  u64 data_offset() const { return data_offset_; }
  /// In the order of their bytes.
  const std::vector<SafeTensor>& tensors() const { return tensors_; }
  const SafeTensor* find(std::string_view name) const;
  /// Of `__metadata__`; views live as long as this object.
  std::optional<std::string_view> metadata(std::string_view key) const;
  /// Offset of the key in the file, for messages; 0 if it is not there.
  u64 metadata_entry(std::string_view key) const;
  /// All of it, by rising keys.
  void each_metadata(const std::function<void(std::string_view key, std::string_view value)>& f) const;
  /// Copies bytes [from, from + out.size()) of a tensor.
  void read(const SafeTensor& t, u64 from, std::span<std::byte> out) const;
  WindowedFile& file() const { return file_; }

 private:
  struct Entry {  // of __metadata__: its key and value stand in text_ one after the other
    u32 at = 0, key = 0, value = 0;
    u32 position = 0;  // in the file
  };
  std::string_view key_of(const Entry& e) const { return std::string_view(text_).substr(e.at, e.key); }
  std::string_view value_of(const Entry& e) const { return std::string_view(text_).substr(e.at + e.key, e.value); }
  const Entry* find_metadata(std::string_view key) const;
  void check_names();
  void check_offsets();

  mutable WindowedFile file_;
  std::vector<SafeTensor> tensors_;
  std::vector<u32> by_name_;
  std::string text_;
  std::vector<Entry> metadata_;  // by keys
  u64 data_offset_ = 0;

  friend class SafeTensorsParser;
};

struct NamedSpec {
  std::string name;
  TensorSpec spec;  ///< dense, constant extents
};
using Metadata = std::map<std::string, std::string>;

/// What stands before the tensors' bytes: length and JSON, padded to a multiple of 8, tensors in the given order.
/// Throws Error(failure) for names or texts that cannot stand there.
std::string safetensors_header(std::span<const NamedSpec> tensors, const Metadata& metadata);

/// Writes a file that appears whole or not at all (core/new_file.h). Errors are Error(failure).
class SafeTensorsWriter {
 public:
  SafeTensorsWriter(const std::string& path, std::vector<NamedSpec> tensors, Metadata metadata = {});

  /// The bytes of the tensors in their order, in pieces of any size.
  void append(std::span<const std::byte> bytes);
  /// Gives a key that was there from the start another value of the same length, up to `close`: what is known only
  /// after the bytes, such as their hash.
  void replace_metadata(const std::string& key, std::string value);
  const Metadata& metadata() const { return metadata_; }
  const std::vector<NamedSpec>& tensors() const { return tensors_; }
  const std::string& path() const { return file_.path(); }
  const std::string& temporary() const { return file_.temporary(); }
  /// The file gets its name. Bytes that are still missing are an error. Without it no file appears.
  void close();

 private:
  std::vector<NamedSpec> tensors_;
  Metadata metadata_;
  std::string header_;
  u64 left_ = 0;  // bytes still to come
  NewFile file_;
};

}  // namespace terrace::io
