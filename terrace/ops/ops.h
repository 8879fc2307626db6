// Every operation there is. One file an op (or a family); the reference kernel of the same name says what it computes.
#pragma once

#include <span>
#include <string_view>

#include "terrace/graph/op_def.h"

namespace terrace::ops {

// Shapes: n rows of activations, k inputs, r outputs, C cache rows. x is f32 unless said.

/// take_rows(table [R, k] any layout, ids i32 [..]) -> [.., k] in the table's format: rows by id. Ids outside [0, R)
/// are an error of the caller, checked when inputs are bound.
extern const OpDef take_rows;
/// dequantize(x [n, k] any layout, or f16) -> f32 [n, k].
extern const OpDef dequantize;
/// quantize(x f32 [n, k]) -> q8a [n, k]: blocks of 32, d = max|x| / 127, q = round_to_even(x / d). k % 32 == 0.
extern const OpDef quantize;
/// rms_norm(x [n, k], weight f32 [k]) -> [n, k]: x / sqrt(mean(x^2) + eps) * weight. floats[0] = eps; ints[0]: the
/// result's type as in matmul's ints[3].
/// (Zhang & Sennrich 2019, arXiv 1910.07467.)
extern const OpDef rms_norm;
/// linear(x [n, k] f32 or q8a, w [r, k] f32, f16, q8_0, q4_0 or q4_1) -> f32 [n, r]: x w^T.
/// Axes: n parallel, r parallel, k reduce. q8a takes block layouts only.
extern const OpDef linear;
/// add(a, b), mul(a, b): same shapes, element-wise.
extern const OpDef add;
extern const OpDef mul;
/// silu(x) = x / (1 + exp(-x)); silu_mul(gate, up) = silu(gate) * up.
extern const OpDef silu;
extern const OpDef silu_mul;
/// softmax(x [n, k]) over the last axis.
extern const OpDef softmax;
/// rope_angles(like [n, *]) -> f32 [n, d]: for row i at position p = pos + i, pairs (cos, sin)(p * base^(-2j/d)),
/// j = 0..d/2-1, interleaved. ints[0] = d; floats[0] = base; symbols[0] = pos. (Su et al. 2021, arXiv 2104.09864.)
/// `like` gives only its row count; its bytes are not read.
extern const OpDef rope_angles;
/// rope(x [.., n, h*D], angles [n, d]) -> [.., n, h*D]: in every head of D, pairs (2j, 2j+1), j < d/2, are rotated by
/// the angles of its position (backwards with ints[1] = 1); the rest is copied. ints[0] = D. This is the interleaved
/// order that GGUF's llama rows are permuted for.
extern const OpDef rope;
/// append_rows(cache [C, k] f16 or q8_0 or f32, x f32 [n, k]) -> the cache with rows pos .. pos+n-1 replaced.
/// In place. symbols[0] = pos; pos + n <= C.
extern const OpDef append_rows;
/// attention(q [n, h*D], keys [C, g*D], values [C, g*D]) -> [n, h*D]: causal, row i attends keys 0 .. pos+i,
/// head j uses group j / (h/g). ints = {h, g}; floats[0] = scale; symbols[0] = pos.
extern const OpDef attention;
/// last_rows(x [n, k]) -> [1, k]: the last row.
extern const OpDef last_rows;

// For training. Shapes: ".." stands for leading axes whose product is a count of rows. "real" is f32, f64 or bf16;
// f64 has reference kernels only, for tests. Whatever has no gradient says so. Sums over rows add in a fixed order.
// Arithmetic on bf16 is done in f32; a bf16 result is rounded once, to nearest, ties to even.

/// fill(like) -> floats[0] everywhere, in the shape of `like`, whose bytes are not read. No gradient.
extern const OpDef fill;
/// matmul(a, b) -> op(a) op(b), where op transposes the last two axes if ints[0] (of a), ints[1] (of b).
/// ints[2] = 0: a and b have the same rank 2..4 and leading axes, each pair is multiplied by itself.
/// ints[2] = 1: each is flattened to a matrix of its rows before; the result is [.., n] with a's leading axes, or
/// with a transposed, where rows are summed over, [m, n]. Then b may also be a weight in f16 or a block layout, whose
/// blocks run along its rows, transposed or not; it has no gradient itself.
/// ints[3], the result's type: 0: that of a; 1: f32; 2: bf16. a and b are of one type, or f32 and bf16 in any order. If
/// an operand or the result is bf16, both operands are rounded to bf16 (nearest, ties to even), products are summed in
/// f32, and a bf16 result is rounded once. Gradients are of their value's type, by the same rule.
extern const OpDef matmul;
/// matmul_add(c, a, b) -> c + op(a) op(b), c f32 or f64 and of the product's shape, which ints[0] .. ints[2] give. No
/// gradient.
extern const OpDef matmul_add;
/// sub(a, b), div(a, b): same shapes. scale(x) = floats[0] x.
extern const OpDef sub;
extern const OpDef div;
extern const OpDef scale;
/// spread(like, s real [1]) -> floats[0] s everywhere, in the shape of `like`, whose bytes are not read.
extern const OpDef spread;
/// relu(x); gelu(x) = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks & Gimpel 2016, arXiv 1606.08415).
extern const OpDef relu;
extern const OpDef gelu;
/// X_grad(x, dy) -> dx = dy X'(x). No gradient of their own.
extern const OpDef relu_grad;
extern const OpDef gelu_grad;
extern const OpDef silu_grad;
/// softmax_grad(y, dy) -> y (dy - sum(y dy)), by rows, y being the softmax. No gradient.
extern const OpDef softmax_grad;
/// add_row(x [.., k], b [k]): b is added to every row. sum_rows(x [.., k]) -> [k], ints[0]: its type as in matmul's
/// ints[3].
extern const OpDef add_row;
extern const OpDef sum_rows;
/// mean(x) -> [1]: of all elements.
extern const OpDef mean;
/// layer_norm(x [.., k], weight [k], bias [k]): (x - mean) / sqrt(var + eps) weight + bias, by rows, var over k.
/// floats[0] = eps; ints[0]: the result's type as in matmul's ints[3]. (Ba et al. 2016, arXiv 1607.06450.)
extern const OpDef layer_norm;
/// norm_stats(x [.., k]) -> [.., 2]: mean and 1 / sqrt(var + eps) of each row; with ints[0] = 0 the mean is taken as 0
/// (RMS norm). floats[0] = eps. No gradient.
extern const OpDef norm_stats;
/// norm_grad(x, weight [k], stats, dy) -> dx and norm_grad_weight(x, stats, dy) -> [k] of either norm; ints[0] as in
/// norm_stats. dy may be bf16 where x is f32; results have the type of x. No gradient.
extern const OpDef norm_grad;
extern const OpDef norm_grad_weight;
/// scatter_rows(like [R, k], ids i32 [..], x [.., k]) -> [R, k]: row r is the sum of the rows of x whose id is r.
/// No gradient.
extern const OpDef scatter_rows;
/// positions(like [.., T]) -> i32 [.., T]: pos .. pos+T-1 in every row; the bytes of `like` are not read. symbols[0] =
/// pos; none: 0. ints[0]: how many axes `like` has after T. No gradient.
extern const OpDef positions;
/// cross_entropy(logits [.., V], targets i32 [..]) -> loss [..] = lse - logits[target], lse [..] = log(sum(exp)).
/// Differentiable in the logits through the loss.
extern const OpDef cross_entropy;
/// cross_entropy_grad(logits, targets, lse, dloss [..]) -> (exp(logits - lse) - onehot(target)) dloss. No gradient.
extern const OpDef cross_entropy_grad;
/// with_gradient(y [1], x, g) -> y. Its gradient in x is taken to be g, which has x's spec: for what is computed on the
/// way to y. Nothing flows on to y but with ints[0] = 1, for y that is the result of another with_gradient.
extern const OpDef with_gradient;
/// correct(logits [.., V], targets i32 [..]) -> [..]: 1 where the first of the largest logits is the target's, else 0;
/// 0 in a row with a NaN. No gradient.
extern const OpDef correct;
/// flash_attention(q [B, N, h D], k [B, M, g D], v [B, M, g D]) -> o [B, N, h D], lse f32 [B, h, N]: softmax(scale q
/// k^T) v by head; head j uses group j / (h/g). ints = {h, g, causal}; causal: query i sees keys 0 .. i + M - N. Rows
/// that see nothing give o = 0, lse = -inf. floats[0] = scale. In bf16 scores, softmax, lse and sums are f32, weights
/// are rounded to bf16 before they meet v, and so are p and ds in the gradient. Differentiable through o. (Dao 2023,
/// arXiv 2307.08691.)
extern const OpDef flash_attention;
/// flash_attention_grad(q, k, v, o, lse, do) -> dq, dk, dv. No gradient.
extern const OpDef flash_attention_grad;
/// slice(x): rows ints[1] .. ints[1] + ints[2] - 1 along axis ints[0]. pad(x): zeros around x along axis ints[0], so
/// that it begins at ints[1] of an extent of ints[2].
extern const OpDef slice;
extern const OpDef pad;
/// concat(a, b) along axis ints[0]; other extents agree.
extern const OpDef concat;
/// transpose(x): axis i of the result is axis (ints[0] >> 4 i & 15) of x.
extern const OpDef transpose;
/// patches(x [B, H, W, C]) -> [B, P, s s C]: windows of s x s, row-major, stride t, with z zeros around.
/// ints = {s, t, z}. A product with it is a 2-D convolution. fold is its transpose: [B, P, s s C] -> [B, H, W, C],
/// ints = {s, t, z, H << 32 | W}.
extern const OpDef patches;
extern const OpDef fold;
/// mean_pool(x [B, H, W, C]) and max_pool: over windows of ints[0] x ints[0], stride ints[1], no padding. The first of
/// equal maxima gets the gradient. X_pool_grad(x, dy) -> dx.
extern const OpDef mean_pool;
extern const OpDef max_pool;
extern const OpDef mean_pool_grad;
extern const OpDef max_pool_grad;
/// dropout(x, step i32 [1]): zero with probability p = floats[0], else x / (1 - p). The numbers are a function of
/// (ints[0], step, position) alone: Philox4x32-10 (Salmon et al. 2011) of the key ints[0] (low half, high half) and the
/// counter (b low, b high, step, 0), b = e / 4 for element e in row-major order; e is kept if word e % 4 >= p 2^32.
extern const OpDef dropout;
/// cast(x) to f32 (ints[0] = 0), bf16 (1) or f64 (2); rounds to nearest, ties to even.
extern const OpDef cast;

// Optimizers. Their first inputs are states that they change.

/// square_sums(x) -> f32 [ceil(elements / 16384)]: sums of squares of runs of 16384 elements, in order. No gradient.
extern const OpDef square_sums;
/// total(x [n]) -> [1]: the sum, in order. No gradient.
extern const OpDef total;
/// advance(step i32 [1]) -> step + 1, in place.
extern const OpDef advance;
/// learning_rate(step) -> f32 [4] = {rate, 1 / (1 - beta1^t), 1 / (1 - beta2^t), 1}, t = step + 1.
/// floats = {base, least, beta1, beta2}, ints = {w, end}: rate = base t / w while t <= w, then
/// least + (base - least) (1 + cos(pi min(1, (t - w) / (end - w)))) / 2.
extern const OpDef learning_rate;
/// clip(rate f32 [4], squares f32 [1]) -> rate with [3] = min(1, floats[0] / (sqrt(squares) + 1e-6)), as
/// torch.nn.utils.clip_grad_norm_ has it. A NaN stays one.
extern const OpDef clip;
/// adamw(w, m, v, gradient, rate) -> w, m, v in place, with g = rate[3] gradient:
/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (m c1 / (sqrt(v c2) + eps) + wd w).
/// floats = {b1, b2, eps, wd}. (Loshchilov & Hutter 2019, arXiv 1711.05101.)
extern const OpDef adamw;
/// sgd(w, m, gradient, rate) -> w, m in place, with g as there: m = mu m + g + wd w; w -= lr m. floats = {mu, wd}.
extern const OpDef sgd;
/// accumulate(sum, x) -> sum + x, in place.
extern const OpDef accumulate;

/// All of them, for tables and tests.
std::span<const OpDef* const> all();
const OpDef* find(std::string_view name);

}  // namespace terrace::ops
