#include "terrace/program/mixed.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace terrace {

u64 shuffled(u64 i, u64 n, u64 key) {
  const int half = std::max(1, (static_cast<int>(std::bit_width(n - 1)) + 1) / 2);
  const u64 mask = (u64{1} << half) - 1;
  do {
    u64 left = i >> half, right = i & mask;
    for (u64 round = 0; round < 6; ++round)
      left = std::exchange(right, left ^ (mixed(mixed(key + round) + right) & mask));
    i = left << half | right;
  } while (i >= n);
  return i;
}

}  // namespace terrace
