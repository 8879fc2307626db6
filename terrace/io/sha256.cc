#include "terrace/io/sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace terrace::io {
namespace {

// Section 4.2.2: the fractional parts of the cube roots of the first 64 primes.
constexpr u32 kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

u32 big_endian(const std::byte* p) {
  u32 v = 0;
  for (int i = 0; i < 4; ++i) v = v << 8 | std::to_integer<u32>(p[i]);
  return v;
}

/// Section 6.2.2: one block of 64 bytes.
void compress(std::array<u32, 8>& state, const std::byte* block) {
  u32 w[64];
  for (int t = 0; t < 16; ++t) w[t] = big_endian(block + 4 * t);
  for (int t = 16; t < 64; ++t) {
    const u32 s0 = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
    const u32 s1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int t = 0; t < 64; ++t) {
    const u32 sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const u32 sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const u32 t1 = h + sum1 + ((e & f) ^ (~e & g)) + kRound[t] + w[t];
    const u32 t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  const u32 added[8] = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) state[i] += added[i];
}

}  // namespace

void Sha256::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::size_t waiting = bytes_ % 64;
  bytes_ += bytes.size();
  if (waiting != 0) {
    const std::size_t n = std::min(bytes.size(), 64 - waiting);
    std::memcpy(block_.data() + waiting, bytes.data(), n);
    bytes = bytes.subspan(n);
    if (waiting + n < 64) return;
    compress(state_, block_.data());
  }
  for (; bytes.size() >= 64; bytes = bytes.subspan(64)) compress(state_, bytes.data());
  if (!bytes.empty()) std::memcpy(block_.data(), bytes.data(), bytes.size());
}

std::array<std::byte, 32> Sha256::digest() const {
  // Section 5.1.1: a one bit, zeros, and the length in bits end the last block.
  Sha256 s = *this;
  std::array<std::byte, 72> padding{std::byte{0x80}};
  const std::size_t zeros = (119 - bytes_ % 64) % 64;
  for (std::size_t i = 0; i < 8; ++i) padding[1 + zeros + i] = static_cast<std::byte>(bytes_ * 8 >> (56 - 8 * i));
  s.update(std::span(padding).first(1 + zeros + 8));
  std::array<std::byte, 32> out;
  for (std::size_t i = 0; i < 32; ++i) out[i] = static_cast<std::byte>(s.state_[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

std::string Sha256::hex() const {
  std::string s;
  for (const std::byte b : digest()) {
    s += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
    s += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
  }
  return s;
}

}  // namespace terrace::io
