// IDX files, the format of MNIST (LeCun, "The MNIST database", file formats): images and labels as unsigned bytes,
// plain or packed with gzip.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::io {

/// Magic 0x00000803 (images: three extents) or 0x00000801 (labels: one). The header is checked against the file's size
/// before anything is allocated by it: gzip packs at most 1032 bytes into one. Errors are Error(bad_file) with path and
/// byte offset.
class IdxFile {
 public:
  explicit IdxFile(std::string path);
  ~IdxFile();
  IdxFile(IdxFile&&) noexcept;
  IdxFile& operator=(IdxFile&&) noexcept;

  const std::string& path() const;
  bool packed() const;
  /// Items, rows, columns of images; items of labels.
  const std::vector<u64>& shape() const;
  bool images() const { return shape().size() == 3; }
  u64 items() const { return shape()[0]; }
  u64 item_bytes() const;
  /// Of the first item; in a packed file, of what it unpacks to.
  u64 data_offset() const { return 4 + 4 * shape().size(); }
  /// Copies whole items from number `first` on. A packed file is unpacked in order, through some 60 KiB: to go back
  /// means to start again. Its checksum is checked when the last item is read.
  void read(u64 first, std::span<std::byte> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace::io
