// The values of a GGUF file in their order, each checked against the file's end: what gguf.cc reads with.
#pragma once

#include <array>
#include <bit>
#include <string>
#include <string_view>

#include "terrace/io/gguf.h"

namespace terrace::io::detail {

static_assert(std::endian::native == std::endian::little, "values are used as they lie in the file");

inline constexpr u64 kMaxString = u64{1} << 30;  ///< ggml's loader
inline constexpr u64 kMaxKept = 64 << 10;        ///< longer strings stay in the file

/// Bytes of a scalar; zero for strings and arrays.
u64 bytes_of(GgufType t);
/// No byte below `first`, and no DEL.
bool printable(std::string_view s, unsigned char first);
/// Text of a damaged file, fit to be printed.
std::string shown(std::string_view s);

/// Reads values in order; knows what it is reading, for messages.
class Cursor {
 public:
  Cursor(WindowedFile& file, u64 at, u64 end) : file_(file), at_(at), end_(end) {}

  u64 at() const { return at_; }
  u64 left() const { return end_ - at_; }
  void subject(std::string s) { subject_ = std::move(s); }

  /// Throws Error(bad_file) with path, byte `offset` and subject.
  [[noreturn]] void fail(u64 offset, std::string what,
                         std::string hint = "the file is damaged: download it again") const;
  void need(u64 n, std::string_view what) const;
  template <class T>
  T value(std::string_view what) {
    need(sizeof(T), what);
    std::array<std::byte, sizeof(T)> raw;
    file_.read(at_, raw);
    at_ += sizeof(T);
    return std::bit_cast<T>(raw);
  }
  /// A string's length; its characters are known to be inside the file.
  u64 length(std::string_view what, u64 most);
  void text(std::string& out, std::string_view what, u64 most);
  void characters(std::string& out);
  void skip(u64 n, std::string_view what);

 private:
  WindowedFile& file_;
  u64 at_, end_;
  std::string subject_;
};

GgufType read_type(Cursor& c, std::string_view what);
/// The value of any scalar type as it is kept in an entry.
decltype(GgufEntry::scalar) read_scalar(Cursor& c, GgufType t);

}  // namespace terrace::io::detail
