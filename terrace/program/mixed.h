// Random numbers as a function of what they are for, so that a run resumed anywhere draws what it would have drawn.
#pragma once

#include "terrace/core/units.h"

namespace terrace {

/// splitmix64 (Steele, Lea, Flood 2014).
inline u64 mixed(u64 z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Where place `i` of [0, n) goes in a random order of them that `key` chooses: a Feistel network on the next even
/// number of bits, walked until it is back below n (Black & Rogaway 2002). i < n < 2^62.
u64 shuffled(u64 i, u64 n, u64 key);

}  // namespace terrace
