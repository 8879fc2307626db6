#include "terrace/graph/op_def.h"

namespace terrace {

std::string_view name_of(OpClass c) {
  switch (c) {
    case OpClass::contraction: return "contraction";
    case OpClass::attention: return "attention";
    case OpClass::normalisation: return "normalisation";
    case OpClass::elementwise: return "elementwise";
    case OpClass::data_movement: return "data_movement";
    case OpClass::optimizer: return "optimizer";
  }
  return "?";
}

Bytes packed_bytes(const TensorView& v) {
  if (v.rank == 0) return Bytes{row_bytes(v.dtype, v.layout, 1)};
  u64 n = row_bytes(v.dtype, v.layout, v.dim[v.rank - 1]);
  for (int a = 0; a + 1 < v.rank; ++a) n *= static_cast<u64>(v.dim[a]);
  return Bytes{n};
}

Cost streaming_cost(const OpInstance& op, double flops_per_output) {
  Cost c;
  double outputs = 0;
  for (std::size_t i = 0; i < op.in.size(); ++i) c.read[i] = packed_bytes(op.in[i]);
  for (std::size_t i = 0; i < op.out.size(); ++i) {
    c.write[i] = packed_bytes(op.out[i]);
    double n = 1;
    for (int a = 0; a < op.out[i].rank; ++a) n *= static_cast<double>(op.out[i].dim[a]);
    outputs += n;
  }
  c.flops = outputs * flops_per_output;
  return c;
}

}  // namespace terrace
