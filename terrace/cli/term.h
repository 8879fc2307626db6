// What the terminal gets: whole characters, bars and colours only where somebody looks.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "terrace/core/small_file.h"
#include "terrace/core/units.h"

namespace terrace::cli {

/// Bytes of the UTF-8 character that `s` begins with; 0 if it is none (or cut short).
std::size_t utf8_length(std::string_view s);

/// Writes text as it comes, but only whole characters; what never becomes one is written as U+FFFD at the end.
class CharacterStream {
 public:
  explicit CharacterStream(std::FILE* out) : out_(out) {}
  void write(std::string_view bytes);
  void finish();

 private:
  void drain(bool all);
  std::FILE* out_;
  std::string held_;
};

/// To standard error; what nobody takes is lost, and no reason to stop.
template <class... A>
void say(fmt::format_string<A...> format, A&&... a) {
  const std::string s = fmt::format(format, std::forward<A>(a)...);
  std::fwrite(s.data(), 1, s.size(), stderr);
}

/// Flushes; Error(failure) if anything written to `out` was lost. What was for standard error may be.
void flush(std::FILE* out);

/// True if standard error is a terminal (bars), and if it may be coloured (no NO_COLOR).
bool bars();
bool colours();
std::string bold(std::string_view s);
std::string dim(std::string_view s);

/// A line that is drawn over itself on a terminal, and not at all elsewhere.
class Bar {
 public:
  explicit Bar(std::string label) : label_(std::move(label)) {}
  ~Bar() { clear(); }
  void show(double share, std::string_view note = {});
  void clear();

 private:
  std::string label_;
  int drawn_ = -1;
};

/// "61.9 MiB", "1.50 GiB".
std::string human(Bytes b);
/// "12.3 ms", "1.25 s", "3 min 20 s".
std::string human_seconds(double s);

/// A whole file (standard input for "-"), at most `most` bytes; Error(bad_file).
std::string read_file(const std::string& path, u64 most = u64{1} << 30);
/// Writes a file whole or not at all (standard output for "-"); Error(failure).
void write_file(const std::string& path, std::string_view text);

}  // namespace terrace::cli
