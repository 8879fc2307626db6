// The one exception type of the library: what went wrong, where, and what to try.
#pragma once

#include <exception>
#include <string>

#include "terrace/core/units.h"

namespace terrace {

/// Each kind has one exit code of the tool (docs/interface.md).
enum class ErrorKind {
  failure,       ///< the work itself failed (I/O, a device, a validation): exit 1
  usage,         ///< the caller asked for something that does not exist: exit 2
  does_not_fit,  ///< the budget or capacity does not suffice: exit 3
  bad_file,      ///< a file is damaged, foreign or not supported: exit 4
  interrupted,   ///< cancelled by the caller: exit 130
};

/// Thrown while building, loading and planning; after `verify`, only for I/O or the device.
/// `where` is a file with byte offset, a key, a tensor or a node; `hint` says what to try. Both may be empty.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string what, std::string where = {}, std::string hint = {});
  const char* what() const noexcept override { return full_.c_str(); }
  ErrorKind kind() const noexcept { return kind_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& where() const noexcept { return where_; }
  const std::string& hint() const noexcept { return hint_; }
  /// For does_not_fit: the smallest budget that would do; zero when unknown.
  Bytes smallest_budget() const noexcept { return smallest_; }
  Error& with_smallest_budget(Bytes b) {
    smallest_ = b;
    return *this;
  }

 private:
  ErrorKind kind_;
  std::string message_, where_, hint_, full_;
  Bytes smallest_{};
};

/// Exit code of the tool for an error of this kind.
int exit_code(ErrorKind kind) noexcept;

}  // namespace terrace
