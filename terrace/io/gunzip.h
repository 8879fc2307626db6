// A gzip file read from its beginning to its end.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "terrace/io/file.h"

namespace terrace::io {

/// Unpacks one stream (RFC 1952) as far as is asked for, never further. Errors are Error(bad_file) with path and the
/// byte of the packed file.
class Gunzip {
 public:
  /// `file` must outlive it.
  explicit Gunzip(WindowedFile& file);
  ~Gunzip();

  static bool is_packed(WindowedFile& file);
  /// What the file's end says of the unpacked size, modulo 2^32.
  u32 stated_bytes() const;
  /// Unpacked so far.
  u64 at() const;
  void read(std::span<std::byte> out);
  void skip(u64 bytes);
  void restart();
  /// Throws unless the stream ends here, with the right checksum, and the file with it.
  void check_end();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace::io
