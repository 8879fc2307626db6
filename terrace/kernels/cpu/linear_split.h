// How the workers of one linear step share its outputs. Included by files of every instruction set: static code only.
#pragma once

#include "terrace/core/tensor.h"
#include "terrace/kernels/kernel.h"

namespace terrace {

/// Rows of w [row, row_end) and rows of x [token, token_end) that one worker computes; empty if there is none for it.
struct LinearPart {
  i64 row, row_end, token, token_end;
};

/// Splits rows of w in groups of 16, so that two workers never write one line of y; if w has too few of them to
/// be fair, rows of x.
static inline LinearPart linear_part(const KernelArgs& a) {
  const i64 n = a.in[0].dim[0], r = a.in[1].dim[0], workers = a.workers, worker = a.worker;
  const i64 groups = (r + 15) / 16;
  if (workers == 1) return {0, r, 0, n};
  if (groups < 4 * workers && n > groups && n >= workers)
    return {0, r, n * worker / workers, n * (worker + 1) / workers};
  const i64 begin = groups * worker / workers * 16, end = groups * (worker + 1) / workers * 16;
  return {begin, end < r ? end : r, 0, n};
}

/// Rows of x that are worked on together: they stay in a quarter of the core's cache while all rows of w pass.
static inline i64 linear_token_chunk(const KernelArgs& a, i64 multiple) {
  const i64 row_bytes = a.in[0].stride[0];
  const i64 room = a.core_cache_bytes > 0 ? static_cast<i64>(a.core_cache_bytes / 4) : 256 << 10;
  const i64 fit = room / (row_bytes > 0 ? row_bytes : 1) / multiple * multiple;
  return fit > multiple ? fit : multiple;
}

}  // namespace terrace
