// Checkpoints of training: safetensors files that appear whole or not at all and know the hashes of what they hold.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/io/safetensors.h"
#include "terrace/io/sha256.h"

namespace terrace::io {

/// In `__metadata__`, besides what the caller puts there:
///   terrace.checkpoint     "1", the version of this
///   weights_sha256         of the bytes of all tensors that are weights, one after the other
///   terrace.header_sha256  of all bytes before the tensors', with zeros in place of these 64 digits
///   sha256.weight.NAME     of the bytes of tensor NAME, a weight
///   sha256.state.NAME      of another tensor: moments, counters, random state
struct CheckpointTensor {
  std::string name;
  TensorSpec spec;  ///< dense, constant extents
  bool weight = true;
};

/// Writes one. Errors are Error(failure), and leave the file that was at the path as it was (core/new_file.h).
class CheckpointWriter {
 public:
  /// `metadata` must not have the keys above.
  CheckpointWriter(const std::string& path, std::span<const CheckpointTensor> tensors, Metadata metadata = {});
  /// The bytes of the tensors in their order, in pieces of any size.
  void append(std::span<const std::byte> bytes);
  /// Only now there is a file at the path, and it is on the device. Returns weights_sha256.
  std::string close();
  /// Where the bytes are until then.
  const std::string& temporary() const { return file_.temporary(); }

 private:
  void end_tensor();

  std::vector<bool> weight_;
  SafeTensorsWriter file_;
  std::size_t current_ = 0;  // tensor
  u64 left_ = 0;             // of its bytes
  Sha256 hash_, weights_;
};

/// Reads one. A file that is none, of another version, or altered since is Error(bad_file) with path, byte offset and
/// tensor. The header is checked at once; a tensor when its last byte is read.
class Checkpoint {
 public:
  explicit Checkpoint(std::string path);
  const SafeTensorsFile& file() const { return file_; }
  std::string_view weights_sha256() const;
  /// The caller's metadata; Error(bad_file) if it is missing.
  std::string_view metadata(std::string_view key) const;
  bool is_weight(const SafeTensor& t) const;
  /// Error(bad_file) unless its tensors are these, in any order: it belongs to another model otherwise.
  void expect(std::span<const CheckpointTensor> tensors) const;
  /// All bytes of a tensor, held to their hash: after an error `out` must not be used.
  void read(const SafeTensor& t, std::span<std::byte> out) const;
  /// Reads everything once, through 64 KiB, and holds it to the hashes; weights_sha256 too.
  void verify() const;

 private:
  [[noreturn]] void fail(u64 at, std::string_view subject, std::string_view what, std::string_view hint) const;
  std::string_view hash_of(const SafeTensor& t) const;
  void check_hash(const SafeTensor& t, const Sha256& hash) const;
  void check_header() const;

  SafeTensorsFile file_;
};

}  // namespace terrace::io
