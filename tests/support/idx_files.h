// IDX files (MNIST's format) made by tests, plain or packed.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::testing {

/// Big-endian words, as headers have them.
inline std::vector<std::byte> big_endian(std::initializer_list<u32> words) {
  std::vector<std::byte> b;
  for (const u32 w : words)
    for (int shift = 24; shift >= 0; shift -= 8) b.push_back(static_cast<std::byte>(w >> shift));
  return b;
}

/// Images of [height, width] bytes, one after the other.
inline std::vector<std::byte> idx_images(u32 height, u32 width, std::span<const std::byte> pixels) {
  auto b = big_endian({0x803, static_cast<u32>(pixels.size() / (height * width)), height, width});
  b.insert(b.end(), pixels.begin(), pixels.end());
  return b;
}
inline std::vector<std::byte> idx_labels(std::span<const std::byte> labels) {
  auto b = big_endian({0x801, static_cast<u32>(labels.size())});
  b.insert(b.end(), labels.begin(), labels.end());
  return b;
}

inline std::vector<std::byte> gzip(std::vector<std::byte> plain) {
  z_stream z{};
  if (::deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("zlib");
  std::vector<std::byte> out(::deflateBound(&z, plain.size()) + 64);
  z.next_in = reinterpret_cast<Bytef*>(plain.data());
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  const int code = ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  if (code != Z_STREAM_END) throw std::runtime_error("zlib");
  return out;
}

}  // namespace terrace::testing
