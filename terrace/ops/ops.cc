#include "terrace/ops/ops.h"

namespace terrace::ops {

std::span<const OpDef* const> all() {
  static constexpr const OpDef* kAll[] = {&take_rows,   &dequantize, &quantize,    &rms_norm,  &linear,
                                          &add,         &mul,        &silu,        &silu_mul,  &softmax,
                                          &rope_angles, &rope,       &append_rows, &attention, &last_rows};
  return kAll;
}

const OpDef* find(std::string_view name) {
  for (const OpDef* op : all())
    if (op->name == name) return op;
  return nullptr;
}

}  // namespace terrace::ops
