#include "terrace/io/idx.h"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "terrace/core/error.h"
#include "terrace/io/file.h"
#include "terrace/io/gunzip.h"

namespace terrace::io {
namespace {

constexpr u64 kMostPacked = 1032;  // deflate: 258 bytes from two bits
constexpr u32 kBytesType = 8;
const char* const kHint = "images begin with 00 00 08 03, labels with 00 00 08 01 (MNIST's format, plain or .gz)";

std::string_view name_of(u32 type) {
  switch (type) {
    case 0x09: return "signed bytes";
    case 0x0b: return "16-bit integers";
    case 0x0c: return "32-bit integers";
    case 0x0d: return "32-bit floats";
    case 0x0e: return "64-bit floats";
    default: return "an unknown type";
  }
}

}  // namespace

struct IdxFile::Impl {
  WindowedFile file;
  std::optional<Gunzip> packed;
  std::vector<u64> shape;
  u64 item_bytes = 1;

  explicit Impl(std::string path) : file(std::move(path)) {}
  [[noreturn]] void fail(u64 at, std::string what, std::string hint = kHint) const {
    throw Error(ErrorKind::bad_file, std::move(what),
                fmt::format("{}, byte {}{}", file.path(), at, packed ? " unpacked" : ""), std::move(hint));
  }
  void read(u64 at, std::span<std::byte> out) {
    if (!packed) return file.read(at, out);
    if (at < packed->at()) packed->restart();
    packed->skip(at - packed->at());
    packed->read(out);
  }
  u32 word(u64 at) {
    std::array<std::byte, 4> raw{};
    if (!packed && file.size() < at + raw.size()) fail(at, "the file ends within its header");
    read(at, raw);
    u32 v = 0;
    for (const std::byte b : raw) v = v << 8 | std::to_integer<u32>(b);
    return v;
  }
  void read_header();
  void check_size(u64 total);
};

void IdxFile::Impl::read_header() {
  if (Gunzip::is_packed(file)) packed.emplace(file);
  const u32 magic = word(0), type = magic >> 8, rank = magic & 0xff;
  if (magic >> 16 != 0) fail(0, "is no IDX file");
  if (type != kBytesType) fail(2, fmt::format("holds {} (type 0x{:02x}), not unsigned bytes", name_of(type), type));
  if (rank != 1 && rank != 3) fail(3, fmt::format("has {} dimensions: neither images nor labels", rank));
  u64 bytes = 1;
  for (u32 i = 0; i < rank; ++i) {
    const u64 at = 4 + 4 * u64{i};
    const u64 n = word(at);
    if (n == 0) fail(at, fmt::format("extent {} is 0: it holds no data", i), "get another file");
    if (__builtin_mul_overflow(bytes, n, &bytes)) fail(at, "the number of bytes overflows");
    shape.push_back(n);
  }
  item_bytes = bytes / shape[0];
  u64 total = 0;
  if (__builtin_add_overflow(bytes, 4 + 4 * u64{rank}, &total)) fail(4, "the number of bytes overflows");
  check_size(total);
}

void IdxFile::Impl::check_size(u64 total) {
  const std::string says = fmt::format("the header says {} bytes in all, ", total);
  const char* const again = "the file is damaged: get it again";
  if (!packed && file.size() < total) fail(file.size(), fmt::format("{}the file has {}", says, file.size()), again);
  if (!packed && file.size() > total) fail(total, fmt::format("{}the file has {}", says, file.size()), again);
  if (packed && total / kMostPacked > file.size())
    fail(4, fmt::format("{}more than {} packed ones can hold", says, file.size()), again);
  if (packed && packed->stated_bytes() != static_cast<u32>(total))
    fail(4, fmt::format("{}the end of the .gz file says {} (modulo 2^32)", says, packed->stated_bytes()), again);
}

IdxFile::IdxFile(std::string path) : impl_(std::make_unique<Impl>(std::move(path))) { impl_->read_header(); }
IdxFile::~IdxFile() = default;
IdxFile::IdxFile(IdxFile&&) noexcept = default;
IdxFile& IdxFile::operator=(IdxFile&&) noexcept = default;

const std::string& IdxFile::path() const { return impl_->file.path(); }
bool IdxFile::packed() const { return impl_->packed.has_value(); }
const std::vector<u64>& IdxFile::shape() const { return impl_->shape; }
u64 IdxFile::item_bytes() const { return impl_->item_bytes; }

void IdxFile::read(u64 first, std::span<std::byte> out) {
  const u64 n = out.size() / item_bytes();
  if (out.size() % item_bytes() != 0 || first > items() || n > items() - first)
    throw Error(ErrorKind::failure, fmt::format("{} bytes from item {} are no items of it", out.size(), first), path());
  impl_->read(data_offset() + first * item_bytes(), out);
  if (impl_->packed && first + n == items()) impl_->packed->check_end();
}

}  // namespace terrace::io
