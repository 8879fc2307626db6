#include "terrace/cli/term.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "terrace/cli/signals.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

/// Bytes that the first byte asks for; 0 if it begins no character.
std::size_t wanted(unsigned char c) {
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c < 0xE0) return 2;
  if (c >= 0xE0 && c < 0xF0) return 3;
  if (c >= 0xF0 && c < 0xF5) return 4;
  return 0;
}

}  // namespace

std::size_t utf8_length(std::string_view s) {
  if (s.empty()) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const std::size_t n = wanted(at(0));
  if (n == 0 || s.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  // No overlong forms, no surrogates, nothing above U+10FFFF.
  if (n == 3 && ((at(0) == 0xE0 && at(1) < 0xA0) || (at(0) == 0xED && at(1) > 0x9F))) return 0;
  if (n == 4 && ((at(0) == 0xF0 && at(1) < 0x90) || (at(0) == 0xF4 && at(1) > 0x8F))) return 0;
  return n;
}

void CharacterStream::write(std::string_view bytes) {
  held_ += bytes;
  drain(false);
}

void CharacterStream::finish() { drain(true); }

void CharacterStream::drain(bool all) {
  std::string_view s = held_;
  std::string out;
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    const bool cut = n == 0 && s.size() < wanted(static_cast<unsigned char>(s.front()));
    if (cut && !all) break;  // the rest of the character may still come
    if (n == 0)
      out += "\xEF\xBF\xBD";
    else
      out += s.substr(0, n);
    s.remove_prefix(n ? n : 1);
  }
  held_.erase(0, held_.size() - s.size());
  std::fwrite(out.data(), 1, out.size(), out_);
  flush(out_);
}

void flush(std::FILE* out) {
  errno = 0;
  if ((std::fflush(out) == 0 && std::ferror(out) == 0) || out == stderr) return;
  throw Error(ErrorKind::failure, fmt::format("cannot write: {}", errno ? std::strerror(errno) : "output was lost"),
              "standard output");
}

bool bars() { return ::isatty(STDERR_FILENO) == 1; }
bool colours() {
  const char* no = std::getenv("NO_COLOR");
  return bars() && !(no && *no);
}
std::string bold(std::string_view s) { return colours() ? fmt::format("\033[1m{}\033[0m", s) : std::string(s); }
std::string dim(std::string_view s) { return colours() ? fmt::format("\033[2m{}\033[0m", s) : std::string(s); }

void Bar::show(double share, std::string_view note) {
  if (!bars()) return;
  constexpr int kWidth = 32;
  const int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * kWidth);
  if (full == drawn_) return;  // a terminal need not redraw what looks the same
  drawn_ = full;
  std::string cells;
  for (int i = 0; i < kWidth; ++i) cells += i < full ? "█" : "░";
  say("\r\033[K{} {} {:3.0f} % {}", label_, cells, share * 100, note);
  std::fflush(stderr);
}

void Bar::clear() {
  if (drawn_ < 0) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  drawn_ = -1;
}

std::string human(Bytes b) {
  const auto x = static_cast<double>(b.count);
  if (x < 0x1p10) return fmt::format("{} B", b.count);
  if (x < 0x1p20) return fmt::format("{:.1f} KiB", x / 0x1p10);
  if (x < 0x1p30) return fmt::format("{:.1f} MiB", x / 0x1p20);
  return fmt::format("{:.2f} GiB", x / 0x1p30);
}

std::string human_seconds(double s) {
  if (s < 1e-3) return fmt::format("{:.1f} us", s * 1e6);
  if (s < 1) return fmt::format("{:.1f} ms", s * 1e3);
  if (s < 120) return fmt::format("{:.2f} s", s);
  return fmt::format("{:.0f} min {:.0f} s", std::floor(s / 60), std::fmod(s, 60));
}

std::string read_file(const std::string& path, u64 most) {
  const int fd = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error(ErrorKind::bad_file, std::strerror(errno), path, "check the path");
  std::string s;
  char buffer[16384];
  ssize_t n = 0;
  int code = 0;
  while (true) {
    n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) code = errno;
    if (n <= 0 || s.size() > most) break;
    s.append(buffer, static_cast<std::size_t>(n));
  }
  if (fd != STDIN_FILENO) ::close(fd);
  if (code) throw Error(ErrorKind::bad_file, std::strerror(code), path, "check the path");
  if (s.size() > most)
    throw Error(ErrorKind::bad_file, fmt::format("more than {} bytes", most), path, "use a smaller file");
  return s;
}

namespace {

/// Writes all of it and closes; errno, or 0.
int write_all(int fd, std::string_view text) {
  int code = 0;
  while (!text.empty() && code == 0) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n > 0)
      text.remove_prefix(static_cast<std::size_t>(n));
    else if (n == 0)
      code = ENOSPC;
    else if (errno != EINTR)
      code = errno;
  }
  if (::close(fd) != 0 && code == 0 && errno != EINTR) code = errno;
  return code;
}

/// Whether a new file may take the place of what is at `path`: not of a device, a pipe, or a file that has other names
/// or another owner.
bool replaceable(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return errno == ENOENT && ::lstat(path.c_str(), &s) != 0;  // nor a link to nothing
  return S_ISREG(s.st_mode) && s.st_nlink == 1 && s.st_uid == ::geteuid() && ::access(path.c_str(), W_OK) == 0;
}

/// Writes beside `path`, and renames when whole: nobody ever finds half of it. errno, or 0; nothing where no file may
/// be made there.
std::optional<int> replace_file(const std::string& path, std::string_view text) {
  const std::string fresh = fmt::format("{}.{}", path, ::getpid());
  const RemovedOnSignal removed(fresh.c_str());
  struct stat s {};
  const bool there = ::stat(path.c_str(), &s) == 0;
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, there ? 0600 : 0666);
  if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS || errno == EEXIST || errno == ENAMETOOLONG))
    return std::nullopt;
  if (fd < 0) return errno;
  if (there) ::fchmod(fd, s.st_mode & 07777);
  int code = write_all(fd, text);
  if (code == 0 && ::rename(fresh.c_str(), path.c_str()) != 0) code = errno;
  if (code != 0) ::unlink(fresh.c_str());
  if (code == EBUSY || code == EXDEV) return std::nullopt;  // a mount of its own
  return code;
}

}  // namespace

void write_file(const std::string& path, std::string_view text) {
  if (path == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return flush(stdout);
  }
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  const std::string target = real ? real.get() : path;  // not a link's own place
  std::optional<int> code = replaceable(target) ? replace_file(target, text) : std::nullopt;
  if (!code) {
    const int fd = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    code = fd < 0 ? errno : write_all(fd, text);
  }
  if (*code != 0) throw Error(ErrorKind::failure, fmt::format("cannot write: {}", std::strerror(*code)), path);
}

}  // namespace terrace::cli
