// Files that appear whole or not at all: checkpoints and exports.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "terrace/core/file_writer.h"

namespace terrace {

/// Written under a temporary name in the same folder; `commit` gives it its name. A process that ends in between, by
/// whatever, leaves what stood at the path as it was. Errors are Error(failure) that name the path.
class NewFile {
 public:
  /// Opens `path`.PID.partial; where `path` is a link, beside the file that it leads to. Temporary files of the same
  /// path whose writers have died are removed.
  explicit NewFile(const std::string& path);
  /// Removes the temporary file if it was not committed.
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes) { writer_->write(bytes); }
  /// Writes once more over bytes that were written before.
  void write_again(u64 offset, std::span<const std::byte> bytes) { writer_->write_again(offset, bytes); }
  u64 written() const { return writer_->written(); }
  const std::string& path() const { return writer_->path(); }
  /// Where the bytes are until `commit`: for whoever removes files when a signal ends the process.
  const std::string& temporary() const { return temporary_path_; }

  /// fsync of the file, rename, fsync of the folder. Afterwards nothing more can be written.
  void commit();

 private:
  void remove_abandoned() const;
  bool create(const std::string& path, int attempt);

  int folder_ = -1;
  std::string name_;       ///< within the folder
  std::string temporary_;  ///< within the folder; empty when there is none to remove
  std::string temporary_path_;
  std::optional<FileWriter> writer_;
};

}  // namespace terrace
