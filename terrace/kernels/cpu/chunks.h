// Where the elements of a weight's row lie, in chunks of 32.
#pragma once

#include "terrace/core/units.h"

namespace terrace {
namespace {

/// Where element e of a row begins, in dense formats of `kBytes` an element and in block formats of `kBytes` a block.
template <int kBytes>
struct DenseOffset {
  static i64 offset(i64 e) { return e * kBytes; }
};
template <int kBytes>
struct BlockOffset {
  static i64 offset(i64 e) { return e / 32 * kBytes; }
};

}  // namespace
}  // namespace terrace
