#include "terrace/core/new_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "terrace/core/error.h"

namespace terrace {
namespace {

constexpr std::string_view kEnding = ".partial";
constexpr int kAttempts = 100;

[[noreturn]] void refuse(const std::string& path, std::string_view what, std::string hint = {}) {
  throw Error(ErrorKind::failure, std::string(what), path, std::move(hint));
}

/// The file that `path` leads to, links followed; `path` itself if there is none yet.
std::string target_of(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? real.get() : path;
}

/// Whether `entry` is name.PID.partial or name.PID-N.partial.
bool is_temporary_of(std::string_view entry, std::string_view name) {
  if (entry.size() <= name.size() + 1 + kEnding.size() || !entry.starts_with(name) || !entry.ends_with(kEnding))
    return false;
  entry.remove_prefix(name.size());
  entry.remove_suffix(kEnding.size());
  return entry.front() == '.' && entry.find_first_not_of("0123456789-", 1) == entry.npos;
}

}  // namespace

NewFile::NewFile(const std::string& path) {
  const std::string target = target_of(path);
  const std::size_t slash = target.rfind('/');
  const std::string folder = slash == target.npos ? "." : target.substr(0, slash + 1);
  name_ = slash == target.npos ? target : target.substr(slash + 1);
  struct stat s {};
  const bool there = ::stat(target.c_str(), &s) == 0;
  if (name_.empty() || (there && !S_ISREG(s.st_mode))) refuse(path, "is not a regular file", "give the path of a file");
  folder_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0)
    refuse(path, fmt::format("its folder cannot be opened: {}", std::strerror(errno)), "make the folder");
  try {
    remove_abandoned();
    int attempt = 0;
    while (!create(path, attempt))
      if (++attempt == kAttempts) refuse(path, "no temporary file could be made beside it");
    temporary_path_ = folder == "." ? temporary_ : folder + temporary_;
    if (there) ::fchmod(writer_->fd(), s.st_mode & 07777);
  } catch (...) {
    ::close(folder_);
    throw;
  }
}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlinkat(folder_, temporary_.c_str(), 0);
  ::close(folder_);
}

/// False if the name is taken: by a writer that lives, elsewhere perhaps (process numbers are per container).
bool NewFile::create(const std::string& path, int attempt) {
  std::string name = fmt::format("{}.{}", name_, ::getpid());
  if (attempt > 0) name += fmt::format("-{}", attempt);
  name += kEnding;
  const int fd = ::openat(folder_, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST) return false;
  if (fd < 0) refuse(path, fmt::format("cannot be written: {}", std::strerror(errno)), "give a path that can be");
  // The lock says that the writer lives; the kernel lets go of it however the process ends.
  struct stat s {};
  const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  if (!locked || ::fstat(fd, &s) != 0 || s.st_nlink == 0) {  // taken for abandoned before it was locked
    ::close(fd);
    return false;
  }
  temporary_ = std::move(name);
  writer_.emplace(fd, path, "free some space or give another folder; the file that was there is as it was");
  return true;
}

void NewFile::remove_abandoned() const {
  const int again = ::openat(folder_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(again), ::closedir);
  if (!entries) {
    ::close(again);
    return;
  }
  while (const dirent* e = ::readdir(entries.get())) {
    if (!is_temporary_of(e->d_name, name_)) continue;
    const int fd = ::openat(folder_, e->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    struct stat s {};
    if (::fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && ::flock(fd, LOCK_EX | LOCK_NB) == 0)
      ::unlinkat(folder_, e->d_name, 0);
    ::close(fd);
  }
}

void NewFile::commit() {
  FileWriter& w = *writer_;
  w.flush();
  int code = 0;
  while ((code = ::fsync(w.fd())) != 0 && errno == EINTR) {}
  if (code != 0) w.fail("writing failed");
  if (::renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) w.fail("cannot be given its name");
  temporary_.clear();
  w.close();
  while ((code = ::fsync(folder_)) != 0 && errno == EINTR) {}
  if (code != 0 && errno != EINVAL)  // some file systems keep folders by other means
    refuse(path(), fmt::format("is there, but a loss of power may undo it: {}", std::strerror(errno)));
}

}  // namespace terrace
