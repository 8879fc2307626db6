#include "terrace/kernels/reference/reference.h"

namespace terrace {

void register_reference(KernelTable& table) {
  const auto add = [&](std::string op, KernelFn fn) {
    std::string name = op;
    name.append(".reference");
    table.add({std::move(op), {}, Isa::reference, fn, std::move(name)});
  };
#define TERRACE_ADD_REFERENCE(op) add(#op, reference::op);
  TERRACE_REFERENCE_KERNELS(TERRACE_ADD_REFERENCE)
}

}  // namespace terrace
