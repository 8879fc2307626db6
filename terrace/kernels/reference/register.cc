#include "terrace/kernels/reference/reference.h"

namespace terrace {

void register_reference(KernelTable& table) {
  const auto add = [&](std::string op, KernelFn fn) {
    std::string name = op;
    name.append(".reference");
    table.add({std::move(op), {}, Isa::reference, fn, std::move(name)});
  };
  add("take_rows", reference::take_rows);
  add("last_rows", reference::last_rows);
  add("dequantize", reference::dequantize);
  add("quantize", reference::quantize);
  add("append_rows", reference::append_rows);
  add("rms_norm", reference::rms_norm);
  add("softmax", reference::softmax);
  add("linear", reference::linear);
  add("add", reference::add);
  add("mul", reference::mul);
  add("silu", reference::silu);
  add("silu_mul", reference::silu_mul);
  add("rope_angles", reference::rope_angles);
  add("rope", reference::rope);
  add("attention", reference::attention);
}

}  // namespace terrace
