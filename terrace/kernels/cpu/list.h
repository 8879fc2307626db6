// Kernels in one list X(function, op, formats), from which their declarations, their definitions and their rows in the
// table are made. `formats` has a letter for each input, then each output: f f32, h bf16, i i32; none: any formats.
#pragma once

#include "terrace/kernels/kernel.h"

namespace terrace {

struct ListedKernel {
  const char* op;
  const char* formats;
  KernelFn fn;
};

/// Adds a list under the names "op.isa", or "op.bf16.isa" where the first operand is bf16, "op.to_bf16.isa" where it is
/// not but the last is, "op.from_bf16.isa" where another is; with `spelled` "op.hfh.isa".
void add_kernels(KernelTable& table, Isa isa, const ListedKernel* list, int count, bool spelled = false);

#define TERRACE_DECLARE(fn, op, formats) void fn(const KernelArgs& a);
#define TERRACE_DEFINE(fn, op, formats) \
  void fn(const KernelArgs& a) { fn##_body(a); }
#define TERRACE_ROW(fn, op, formats) {op, formats, fn},
#define TERRACE_COUNT(fn, op, formats) +1

}  // namespace terrace
