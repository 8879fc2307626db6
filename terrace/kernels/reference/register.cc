#include "terrace/kernels/reference/reference.h"

namespace terrace {
namespace {

void add(KernelTable& table, std::string op, KernelFn fn) {
  std::string name = op;
  name.append(".reference");
  table.add({std::move(op), {}, Isa::reference, fn, std::move(name)});
}

}  // namespace

#define TERRACE_ADD_REFERENCE(op) add(table, #op, reference::op);

void register_reference_inference(KernelTable& table) { TERRACE_INFERENCE_REFERENCES(TERRACE_ADD_REFERENCE) }
void register_reference(KernelTable& table) {
  register_reference_inference(table);
  TERRACE_TRAINING_REFERENCES(TERRACE_ADD_REFERENCE)
}

}  // namespace terrace
