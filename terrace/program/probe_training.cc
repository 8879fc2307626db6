// Operands of the training ops, as probe_kernels.cc makes them up for the others.
#include <algorithm>

#include "terrace/ops/fused.h"
#include "terrace/ops/ops.h"
#include "terrace/program/probe_parts.h"

namespace terrace::probe {
namespace {

constexpr i64 kColumns = 1024, kHeads = 8, kGroups = 4, kHead = 64, kKeys = 512, kRows = 512;

TensorSpec of(Shape s, DType t = DType::f32) { return {t, Layout::dense, s}; }

template <std::size_t N>
bool among(std::string_view op, const char* const (&names)[N]) {
  return std::any_of(names, names + N, [&](const char* n) { return op == n; });
}

}  // namespace

bool training_inputs(std::string_view op, i64 n, i64 r, Attrs& a, std::vector<TensorSpec>& in) {
  const TensorSpec x = of({Dim(n), Dim(kColumns)}), ids = of({Dim(n)}, DType::i32), row = of({Dim(n)});
  const TensorSpec vector = of({Dim(kColumns)}), stats = of({Dim(n), Dim(2)}), step = of({Dim(1)}, DType::i32);
  const TensorSpec rate = of({Dim(4)}), table = of({Dim(kRows), Dim(kColumns)}),
                   image = of({Dim(n), Dim(8), Dim(8), Dim(16)});
  const TensorSpec pooled = of({Dim(n), Dim(4), Dim(4), Dim(16)});
  a = {};
  a.floats = {0.5, 0.25, 0.9, 0.99};
  if (among(op,
            {"fill", "scale", "relu", "gelu", "sum_rows", "mean", "norm_stats", "square_sums", "positions", "cast"})) {
    in = {x};
  } else if (among(op, {"sub", "div", "relu_grad", "gelu_grad", "silu_grad", "softmax_grad", "accumulate"})) {
    in = {x, x};
  } else if (op == "with_gradient") {
    in = {of({Dim(1)}), x, x};
  } else if (op == "spread") {
    in = {x, of({Dim(1)})};
  } else if (op == "add_row") {
    in = {x, vector};
  } else if (op == "layer_norm") {
    in = {x, vector, vector};
  } else if (op == "norm_grad") {
    in = {x, vector, stats, x};
  } else if (op == "norm_grad_weight") {
    in = {x, stats, x};
  } else if (op == "matmul") {
    a.ints = {0, 1, 1, 0};
    in = {x, of({Dim(r), Dim(kColumns)})};
  } else if (op == "matmul_add") {
    a.ints = {0, 1, 1, 0};
    in = {of({Dim(n), Dim(r)}), x, of({Dim(r), Dim(kColumns)})};
  } else if (op == "scatter_rows") {
    in = {table, ids, x};
  } else if (op == "cross_entropy" || op == "correct") {
    in = {x, ids};
  } else if (op == "cross_entropy_grad") {
    in = {x, ids, row, row};
  } else if (op == "flash_attention" || op == "flash_attention_grad") {
    a.ints = {kHeads, kGroups, 0, 0};
    const TensorSpec q = of({Dim(1), Dim(n), Dim(kHeads * kHead)}), k = of({Dim(1), Dim(kKeys), Dim(kGroups * kHead)});
    in = {q, k, k};
    if (op == "flash_attention_grad") in.insert(in.end(), {q, of({Dim(1), Dim(kHeads), Dim(n)}), q});
  } else if (op == "slice") {
    a.ints = {1, 0, kColumns / 2, 0};
    in = {x};
  } else if (op == "pad") {
    a.ints = {1, 0, 2 * kColumns, 0};
    in = {x};
  } else if (op == "concat") {
    a.ints[0] = 1;
    in = {x, x};
  } else if (op == "transpose") {
    a.ints[0] = 0x01;
    in = {x};
  } else if (op == "patches") {
    a.ints = {2, 2, 0, 0};
    in = {image};
  } else if (op == "fold") {
    a.ints = {2, 2, 0, i64{8} << 32 | 8};
    in = {of({Dim(n), Dim(16), Dim(64)})};
  } else if (op == "mean_pool" || op == "max_pool") {
    a.ints = {2, 2, 0, 0};
    in = {image};
  } else if (op == "mean_pool_grad" || op == "max_pool_grad") {
    a.ints = {2, 2, 0, 0};
    in = {image, pooled};
  } else if (op == "dropout") {
    in = {x, step};
  } else if (op == "total") {
    in = {vector};
  } else if (op == "advance") {
    in = {step};
  } else if (op == "learning_rate") {
    a.ints = {1, 1000, 0, 0};
    in = {step};
  } else if (op == "clip") {
    in = {rate, of({Dim(1)})};
  } else if (op == "adamw") {
    in = {x, x, x, x, rate};
  } else if (op == "sgd" || op == "descend") {
    in = {x, x, x, rate};
  } else if (op == "rescale" || op == "root") {
    in = {x, rate};
  } else if (op == "blend" || op == "add_square") {
    in = {x, x, rate};
  } else if (op == "add_layer_norm") {
    in = {x, x, vector, vector};
  } else if (op == "add_rms_norm") {
    in = {x, x, vector};
  } else if (op == "norm_grad_add") {
    in = {x, vector, stats, x, x};
  } else if (op == "bias_activation" || op == "bias_activation_grad") {
    a.ints[0] = static_cast<i64>(ops::Activation::gelu);
    in = {x, vector};
    if (op == "bias_activation_grad") in.push_back(x);
  } else if (op == "causal_softmax") {
    in = {of({Dim(n), Dim(n)})};
  } else if (op == "split_heads") {
    a.ints[0] = kHeads;
    in = {of({Dim(1), Dim(n), Dim(kHeads * kHead)})};
  } else if (op == "merge_heads") {
    in = {of({Dim(1), Dim(kHeads), Dim(n), Dim(kHead)})};
  } else {
    return false;
  }
  return true;
}

void take_formats(const Kernel& k, Attrs& a, std::vector<TensorSpec>& in) {
  if (k.formats.size() <= in.size()) return;
  for (std::size_t i = 0; i < in.size(); ++i) in[i].dtype = k.formats[i].dtype;
  const DType result = k.formats[in.size()].dtype;
  const i64 chosen = result == in[0].dtype ? 0 : result == DType::f32 ? 1 : 2;
  if (k.op == "matmul") a.ints[3] = chosen;
  if (among(k.op, {"rms_norm", "layer_norm", "sum_rows"})) a.ints[0] = chosen;
  if (k.op == "cast") a.ints[0] = result == DType::bf16;
}

}  // namespace terrace::probe
