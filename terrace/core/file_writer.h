// Writing a file from its beginning to its end without leaving it in the page cache.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "terrace/core/units.h"

namespace terrace {

/// Appends to an open file. What is written goes to the device after every mebibyte and leaves the page cache, so that
/// a long file does not count against a memory budget. Errors are Error(failure) with the path that was given.
class FileWriter {
 public:
  /// Takes `fd` over. `hint` says what to try when writing fails.
  FileWriter(int fd, std::string path, std::string hint = {});
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  u64 written() const { return written_; }

  void write(std::span<const std::byte> bytes);
  /// Writes once more over bytes that were appended before.
  void write_again(u64 offset, std::span<const std::byte> bytes);
  /// Waits until the device has taken what was written.
  void flush();
  /// Closes; closing may say what writing did not.
  void close();
  /// Throws Error(failure): "`what`: " and errno's text.
  [[noreturn]] void fail(std::string_view what) const;

 private:
  int fd_;
  std::string path_, hint_;
  u64 written_ = 0, flushed_ = 0;
};

}  // namespace terrace
