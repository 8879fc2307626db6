// Reading files without leaving them in the page cache: what a whole-process budget needs.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "terrace/core/units.h"

namespace terrace::io {

/// A read-only file seen through a small window that is filled by direct I/O where the file system allows it
/// (elsewhere by buffered reads that are dropped behind). Never maps, never reads ahead.
class WindowedFile {
 public:
  /// Throws Error(bad_file) when it cannot be opened or is no regular file. `window` is a multiple of 4096.
  explicit WindowedFile(std::string path, u64 window = 64 << 10);
  ~WindowedFile();
  WindowedFile(WindowedFile&&) noexcept;
  WindowedFile& operator=(WindowedFile&&) noexcept;

  const std::string& path() const;
  u64 size() const;
  /// Copies bytes [offset, offset + out.size()); throws Error(bad_file) past the end, Error(failure) on I/O errors.
  void read(u64 offset, std::span<std::byte> out);
  /// True if reads bypass the page cache.
  bool direct() const;
  /// Throws Error(failure) if the path now names another file, or one that was written since it was opened.
  void check_unchanged() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace::io
