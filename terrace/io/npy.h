// Writing NumPy's .npy files (format 1.0) a few rows at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::io {

/// A float32 array in C order, little-endian. What is written leaves the page cache as it goes, so that a long
/// file does not count against a memory budget.
class NpyWriter {
 public:
  /// Creates or replaces `path`. Throws Error(failure) when it cannot, or when the extents' product overflows.
  NpyWriter(std::string path, const std::vector<u64>& shape);
  ~NpyWriter();
  NpyWriter(NpyWriter&&) noexcept;

  /// Appends elements in order; Error(failure) on I/O errors and when there are more than the shape holds.
  void append(std::span<const float> values);
  /// Ends the file; Error(failure) if elements are missing. Without it a regular file is removed: half an array is of
  /// no use.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace::io
