#include "terrace/io/gunzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "terrace/core/error.h"

namespace terrace::io {
namespace {

constexpr std::size_t kBuffer = 16 << 10;
constexpr int kGzip = 16 + MAX_WBITS;
constexpr u64 kTrailer = 8;  // checksum, size

}  // namespace

struct Gunzip::Impl {
  WindowedFile& file;
  z_stream z{};
  u64 fed = 0, unpacked = 0;  // bytes of the file, and of what is in it
  bool ended = false;
  std::array<std::byte, kBuffer> input;

  explicit Impl(WindowedFile& f) : file(f) {
    if (::inflateInit2(&z, kGzip) != Z_OK) throw std::bad_alloc();
  }
  ~Impl() { ::inflateEnd(&z); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[noreturn]] void fail(std::string what) const {
    throw Error(ErrorKind::bad_file, std::move(what), fmt::format("{}, byte {}", file.path(), fed - z.avail_in),
                "the file is damaged: get it again");
  }

  /// Unpacks up to out.size() bytes; how many there were before the stream's end.
  std::size_t some(std::span<std::byte> out) {
    std::size_t done = 0;
    while (done < out.size() && !ended) {
      if (z.avail_in == 0) {
        const auto piece = std::span(input).first(std::min<u64>(input.size(), file.size() - fed));
        if (piece.empty()) fail("the packed data end too early");
        file.read(fed, piece);
        fed += piece.size();
        z.next_in = reinterpret_cast<Bytef*>(piece.data());
        z.avail_in = static_cast<uInt>(piece.size());
      }
      const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - done, 1u << 30));
      z.next_out = reinterpret_cast<Bytef*>(out.data() + done);
      z.avail_out = room;
      const int code = ::inflate(&z, Z_NO_FLUSH);
      if (code == Z_MEM_ERROR) throw std::bad_alloc();
      if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        fail(fmt::format("the packed data are damaged: {}", z.msg ? z.msg : "unknown form"));
      done += room - z.avail_out;
      ended = code == Z_STREAM_END;
    }
    unpacked += done;
    return done;
  }
};

Gunzip::Gunzip(WindowedFile& file) : impl_(std::make_unique<Impl>(file)) {}
Gunzip::~Gunzip() = default;

bool Gunzip::is_packed(WindowedFile& file) {
  std::array<std::byte, 2> magic{};
  if (file.size() < magic.size() + kTrailer) return false;
  file.read(0, magic);
  return magic[0] == std::byte{0x1f} && magic[1] == std::byte{0x8b};
}

u32 Gunzip::stated_bytes() const {
  std::array<std::byte, 4> raw{};
  impl_->file.read(impl_->file.size() - raw.size(), raw);
  u32 v = 0;
  for (std::size_t i = raw.size(); i-- > 0;) v = v << 8 | std::to_integer<u32>(raw[i]);
  return v;
}

u64 Gunzip::at() const { return impl_->unpacked; }

void Gunzip::read(std::span<std::byte> out) {
  const std::size_t n = impl_->some(out);
  if (n < out.size())
    impl_->fail(fmt::format("unpacks to {} bytes, at least {} are needed", at(), at() + (out.size() - n)));
}

void Gunzip::skip(u64 bytes) {
  std::array<std::byte, 4096> nowhere;
  for (u64 n = 0; bytes > 0; bytes -= n) {
    n = std::min<u64>(bytes, nowhere.size());
    read(std::span(nowhere).first(n));
  }
}

void Gunzip::restart() {
  ::inflateReset(&impl_->z);
  impl_->z.avail_in = 0;
  impl_->fed = impl_->unpacked = 0;
  impl_->ended = false;
}

void Gunzip::check_end() {
  std::byte more{};
  if (impl_->some({&more, 1}) != 0) impl_->fail(fmt::format("unpacks to more than {} bytes", at() - 1));
  const u64 left = impl_->file.size() - (impl_->fed - impl_->z.avail_in);
  if (left != 0) impl_->fail(fmt::format("{} bytes follow the end of the packed data", left));
}

}  // namespace terrace::io
