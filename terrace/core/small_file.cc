#include "terrace/core/small_file.h"

#include <fcntl.h>
#include <unistd.h>

namespace terrace {

std::string read_small(const std::string& path) {
  std::string s;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return s;
  char buffer[4096];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0 && s.size() < (1u << 20);)
    s.append(buffer, static_cast<std::size_t>(n));
  ::close(fd);
  return s;
}

}  // namespace terrace
