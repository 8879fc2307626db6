// The cases of training_check.h for fused ops: each has the bits of the ops that it stands for, done one after the
// other by kernels of the same instruction set.
#pragma once

#include "kernels/training_check_ops.h"

namespace terrace::training_check {

/// The kernel of `op` at `isa` that takes f32 throughout.
inline KernelFn kernel_of(const KernelTable& table, std::string_view op, Isa isa, std::size_t operands) {
  const Kernel* k = table.find(op, std::vector<Format>(operands), isa);
  EXPECT_NE(k, nullptr) << op;
  return k->fn;
}
inline Operand one_of(const KernelTable& table, std::string_view op, Isa isa, const Case& c) {
  return apply(kernel_of(table, op, isa, c.in.size() + 1), c, 1)[0];
}

inline void expect_same(const KernelTable& table, std::string_view op, Isa isa, const Case& c,
                        const std::vector<Operand>& parts) {
  const std::vector<Operand> all = apply(kernel_of(table, op, isa, c.in.size() + c.out.size()), c, 2);
  for (std::size_t i = 0; i < parts.size(); ++i)
    EXPECT_EQ(Operand(all[i]).with_gap(0).bytes, Operand(parts[i]).with_gap(0).bytes)
        << op << " " << name_of(isa) << ", output " << i;
}

/// The instruction sets besides the reference in which `table` has all the kernels that fused ones are compared with.
inline std::vector<Isa> isas_of(const KernelTable& table) {
  std::vector<Isa> all;
  for (const Kernel& k : table.all())
    if (k.op == "rms_norm" && k.isa != Isa::reference && k.formats.back().dtype == DType::f32) all.push_back(k.isa);
  std::erase(all, Isa::reference);
  return all;
}

inline void expect_add_norms(const KernelTable& table) {
  std::mt19937 rng(31);
  for (const Dims& d : kShapes)
    for (const bool centred : {false, true}) {
      const double eps = d.back() == 1 ? 0.1 : 1e-5;  // one column has no variance
      const Operand a = random_operand(rng, d, 3), b = random_operand(rng, d, 2), w = random_operand(rng, last_of(d)),
                    bias = random_operand(rng, last_of(d));
      Case c{{a, b, w}, {empty(d), empty(d), empty(with_last(d, 2))}};
      if (centred) c.in.push_back(bias);
      c.floats[0] = eps;
      c.tolerance = 4e-6;
      const char* op = centred ? "add_layer_norm" : "add_rms_norm";
      expect_kernels(table, op, c);
      for (const Isa isa : isas_of(table)) {
        const Operand sum = one_of(table, "add", isa, {{a, b}, {empty(d)}});
        Case norm{{sum, w}, {empty(d)}}, stats{{sum}, {empty(with_last(d, 2))}};
        if (centred) norm.in.push_back(bias);
        norm.floats[0] = stats.floats[0] = eps;
        stats.ints[0] = centred;
        expect_same(table, op, isa, c,
                    {sum, one_of(table, centred ? "layer_norm" : "rms_norm", isa, norm),
                     one_of(table, "norm_stats", isa, stats)});
      }
    }
}

inline void expect_norm_grad_add(const KernelTable& table) {
  std::mt19937 rng(32);
  for (const Dims& d : kShapes)
    for (const i64 centred : {0, 1}) {
      const Operand x = random_operand(rng, d, 3), w = random_operand(rng, last_of(d)), dy = random_operand(rng, d),
                    more = random_operand(rng, d);
      Case stats{{x}, {empty(with_last(d, 2))}};
      stats.ints[0] = centred;
      stats.floats[0] = 0.1;
      const Operand known = apply(reference::norm_stats, stats, 1)[0];
      Case c{{x, w, known, dy, more}, {empty(d)}};
      c.ints[0] = centred;
      c.tolerance = 3e-6;
      expect_kernels(table, "norm_grad_add", c);
      for (const Isa isa : isas_of(table)) {
        Case grad{{x, w, known, dy}, {empty(d)}};
        grad.ints[0] = centred;
        const Operand dx = one_of(table, "norm_grad", isa, grad);
        expect_same(table, "norm_grad_add", isa, c, {one_of(table, "add", isa, {{more, dx}, {empty(d)}})});
      }
    }
}

inline void expect_bias_activations(const KernelTable& table) {
  std::mt19937 rng(33);
  const char* functions[] = {"relu", "gelu", "silu"};
  for (const Dims& d : kShapes)
    for (i64 f = 0; f < 3; ++f) {
      const Operand x = random_operand(rng, d, 3), b = random_operand(rng, last_of(d)), dy = random_operand(rng, d);
      Case c{{x, b}, {empty(d)}}, back{{x, b, dy}, {empty(d)}};
      c.ints[0] = back.ints[0] = f;
      c.tolerance = back.tolerance = 2e-6;
      expect_kernels(table, "bias_activation", c);
      expect_kernels(table, "bias_activation_grad", back);
      for (const Isa isa : isas_of(table)) {
        const Operand sum = one_of(table, "add_row", isa, {{x, b}, {empty(d)}});
        expect_same(table, "bias_activation", isa, c, {one_of(table, functions[f], isa, {{sum}, {empty(d)}})});
        expect_same(table, "bias_activation_grad", isa, back,
                    {one_of(table, std::string(functions[f]) + "_grad", isa, {{sum, dy}, {empty(d)}})});
      }
    }
}

}  // namespace terrace::training_check
