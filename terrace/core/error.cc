#include "terrace/core/error.h"

#include <utility>

namespace terrace {

Error::Error(ErrorKind kind, std::string what, std::string where, std::string hint)
    : kind_(kind), message_(std::move(what)), where_(std::move(where)), hint_(std::move(hint)) {
  full_ = where_.empty() ? message_ : where_ + ": " + message_;
  if (!hint_.empty()) full_ += " (" + hint_ + ")";
}

int exit_code(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::failure: return 1;
    case ErrorKind::usage: return 2;
    case ErrorKind::does_not_fit: return 3;
    case ErrorKind::bad_file: return 4;
    case ErrorKind::interrupted: return 130;
  }
  return 1;
}

}  // namespace terrace
