#include "terrace/io/npy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "terrace/core/error.h"
#include "terrace/core/file_writer.h"

namespace terrace::io {
namespace {
static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory");

std::string header(const std::vector<u64>& shape) {
  std::string extents;
  for (u64 n : shape) extents += fmt::format("{}, ", n);
  if (shape.size() > 1)
    extents.resize(extents.size() - 2);
  else if (!shape.empty())
    extents.pop_back();  // a tuple of one keeps its comma
  std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents);
  // magic, version, u16 length, text, newline: a multiple of 64 in all
  const u64 total = round_up(10 + text.size() + 1, 64);
  text.append(total - 10 - text.size() - 1, ' ');
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(text.size() & 0xff);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}
}  // namespace

struct NpyWriter::Impl {
  FileWriter file;
  u64 left = 1;  // elements still to come
  bool whole = false;

  Impl(int fd, std::string path) : file(fd, std::move(path)) {}
  ~Impl() {
    if (whole || file.fd() < 0) return;
    struct stat s {};
    const bool regular = ::fstat(file.fd(), &s) == 0 && S_ISREG(s.st_mode);
    if (regular && ::ftruncate(file.fd(), 0) == 0 && ::lstat(file.path().c_str(), &s) == 0 && S_ISREG(s.st_mode))
      ::unlink(file.path().c_str());  // half an array is of no use
  }
};

NpyWriter::NpyWriter(std::string path, const std::vector<u64>& shape) {
  u64 elements = 1;
  for (u64 n : shape) {
    if (__builtin_mul_overflow(elements, n, &elements))
      throw Error(ErrorKind::failure, "the array would be too large", path);
  }
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) throw Error(ErrorKind::failure, fmt::format("cannot be written: {}", std::strerror(errno)), path);
  impl_ = std::make_unique<Impl>(fd, std::move(path));
  impl_->left = elements;
  const std::string head = header(shape);
  impl_->file.write(std::as_bytes(std::span(head)));
}
NpyWriter::~NpyWriter() = default;
NpyWriter::NpyWriter(NpyWriter&&) noexcept = default;

void NpyWriter::append(std::span<const float> values) {
  if (values.size() > impl_->left)
    throw Error(ErrorKind::failure, fmt::format("{} elements more than the shape holds", values.size() - impl_->left),
                impl_->file.path());
  impl_->file.write(std::as_bytes(values));
  impl_->left -= values.size();
}

void NpyWriter::close() {
  if (impl_->left != 0)
    throw Error(ErrorKind::failure, fmt::format("{} elements of the shape are missing", impl_->left),
                impl_->file.path());
  impl_->file.flush();
  impl_->whole = true;
  impl_->file.close();
}

}  // namespace terrace::io
