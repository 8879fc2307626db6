// SHA-256 (FIPS 180-4): names the bytes of checkpoints.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "terrace/core/units.h"

namespace terrace::io {

/// Of a stream of bytes, given in pieces of any size.
class Sha256 {
 public:
  static constexpr std::size_t kHexDigits = 64;

  void update(std::span<const std::byte> bytes);
  /// Of all bytes so far; more may follow.
  std::array<std::byte, 32> digest() const;
  /// The digest as 64 lower-case digits.
  std::string hex() const;

 private:
  std::array<u32, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> block_{};  ///< its first bytes_ % 64 bytes wait
  u64 bytes_ = 0;
};

}  // namespace terrace::io
